package adminapi

import (
	"context"
	"regexp"

	"connectrpc.com/connect"

	"k3fs/daemon/adminapi/adminv1"
)

// maintenance implements MaintenanceService.
type maintenance struct{ *Server }

// GetMaintenance implements MaintenanceService.
func (s maintenance) GetMaintenance(context.Context, *connect.Request[adminv1.GetMaintenanceRequest]) (*connect.Response[adminv1.GetMaintenanceResponse], error) {
	return connect.NewResponse(&adminv1.GetMaintenanceResponse{Maintenance: s.o.Node.Maintenance()}), nil
}

// Drain implements MaintenanceService.
func (s maintenance) Drain(ctx context.Context, _ *connect.Request[adminv1.DrainRequest]) (*connect.Response[adminv1.DrainResponse], error) {
	if err := s.o.Node.Drain(ctx, s.principal(ctx, nil), true); err != nil {
		return nil, err
	}
	s.note(ctx, "draining: new requests and opens are refused")
	return connect.NewResponse(&adminv1.DrainResponse{Maintenance: s.o.Node.Maintenance()}), nil
}

// Undrain implements MaintenanceService.
func (s maintenance) Undrain(ctx context.Context, _ *connect.Request[adminv1.UndrainRequest]) (*connect.Response[adminv1.UndrainResponse], error) {
	if err := s.o.Node.Drain(ctx, s.principal(ctx, nil), false); err != nil {
		return nil, err
	}
	s.note(ctx, "serving again")
	return connect.NewResponse(&adminv1.UndrainResponse{Maintenance: s.o.Node.Maintenance()}), nil
}

// SetReadOnly implements MaintenanceService.
func (s maintenance) SetReadOnly(ctx context.Context, r *connect.Request[adminv1.SetReadOnlyRequest]) (*connect.Response[adminv1.SetReadOnlyResponse], error) {
	if err := s.o.Node.SetReadOnly(ctx, s.principal(ctx, nil), r.Msg.GetReadOnly()); err != nil {
		return nil, err
	}
	s.note(ctx, "read-only mode was set", "read_only", r.Msg.GetReadOnly())
	return connect.NewResponse(&adminv1.SetReadOnlyResponse{Maintenance: s.o.Node.Maintenance()}), nil
}

// StartScrub implements MaintenanceService.
func (s maintenance) StartScrub(ctx context.Context, r *connect.Request[adminv1.StartScrubRequest]) (*connect.Response[adminv1.StartScrubResponse], error) {
	if r.Msg.GetBytesPerSecond() < 0 {
		return nil, invalid("bytes_per_second is not negative")
	}
	if err := s.o.Node.StartScrub(ctx, s.principal(ctx, nil), r.Msg); err != nil {
		return nil, err
	}
	s.note(ctx, "scrub begun", "data", r.Msg.GetData())
	return connect.NewResponse(&adminv1.StartScrubResponse{Scrub: s.o.Node.Scrub()}), nil
}

// GetScrub implements MaintenanceService.
func (s maintenance) GetScrub(context.Context, *connect.Request[adminv1.GetScrubRequest]) (*connect.Response[adminv1.GetScrubResponse], error) {
	return connect.NewResponse(&adminv1.GetScrubResponse{Scrub: s.o.Node.Scrub()}), nil
}

// StopScrub implements MaintenanceService.
func (s maintenance) StopScrub(ctx context.Context, _ *connect.Request[adminv1.StopScrubRequest]) (*connect.Response[adminv1.StopScrubResponse], error) {
	if err := s.o.Node.StopScrub(ctx, s.principal(ctx, nil)); err != nil {
		return nil, err
	}
	s.note(ctx, "scrub stopped")
	return connect.NewResponse(&adminv1.StopScrubResponse{Scrub: s.o.Node.Scrub()}), nil
}

// backupNames are the names of backups: of one directory, which is not hidden.
var backupNames = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// StartBackup implements MaintenanceService.
func (s maintenance) StartBackup(ctx context.Context, r *connect.Request[adminv1.StartBackupRequest]) (*connect.Response[adminv1.StartBackupResponse], error) {
	name := r.Msg.GetName()
	if name == "" {
		name = s.o.Now().UTC().Format("20060102T150405Z")
	}
	if !backupNames.MatchString(name) {
		return nil, invalid("a backup's name is of 1 to 100 letters, digits, '-', '_' and '.'")
	}
	if err := s.o.Node.StartBackup(ctx, s.principal(ctx, nil), name); err != nil {
		return nil, err
	}
	s.note(ctx, "backup begun", "name", name)
	return connect.NewResponse(&adminv1.StartBackupResponse{Backup: s.o.Node.Backup()}), nil
}

// GetBackup implements MaintenanceService.
func (s maintenance) GetBackup(context.Context, *connect.Request[adminv1.GetBackupRequest]) (*connect.Response[adminv1.GetBackupResponse], error) {
	return connect.NewResponse(&adminv1.GetBackupResponse{Backup: s.o.Node.Backup()}), nil
}

// StopBackup implements MaintenanceService.
func (s maintenance) StopBackup(ctx context.Context, _ *connect.Request[adminv1.StopBackupRequest]) (*connect.Response[adminv1.StopBackupResponse], error) {
	if err := s.o.Node.StopBackup(ctx, s.principal(ctx, nil)); err != nil {
		return nil, err
	}
	s.note(ctx, "backup stopped")
	return connect.NewResponse(&adminv1.StopBackupResponse{Backup: s.o.Node.Backup()}), nil
}
