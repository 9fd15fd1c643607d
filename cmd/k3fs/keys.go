package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"k3fs/daemon/adminapi/adminv1"
)

// newKeyTenant is about the key that the tenant's data are sealed with.
func newKeyTenant(a *api) *cobra.Command {
	show := func(cmd *cobra.Command, k *adminv1.TenantKey) error {
		return show(a, cmd, k, func(w io.Writer) {
			row(w, "epoch", k.Epoch)
			row(w, "rotation", rotation(k))
			if k.Trouble != "" {
				row(w, "trouble", k.Trouble)
			}
		})
	}
	return group("tenant", "rotate the key that the tenant's data are sealed with",
		`New data are sealed with the new key at once, all others are sealed anew while both doors go on.`,
		a.verb("rotate", "begin to seal all the tenant's data with a new key", noArgs, func(cmd *cobra.Command, s *services, _ []string) error {
			answer, err := call(cmd.Context(), s.keys.RotateTenantKey, &adminv1.RotateTenantKeyRequest{})
			if err != nil {
				return err
			}
			return show(cmd, answer.Key)
		}),
		a.verb("status", "say how far a rotation is", noArgs, func(cmd *cobra.Command, s *services, _ []string) error {
			answer, err := call(cmd.Context(), s.keys.GetTenantKey, &adminv1.GetTenantKeyRequest{})
			if err != nil {
				return err
			}
			return show(cmd, answer.Key)
		}))
}

func rotation(k *adminv1.TenantKey) string {
	switch {
	case k.Epoch == 0:
		return "the tenant's keys were destroyed"
	case len(k.Older) == 0:
		return "none is under way"
	}
	older := strings.Trim(fmt.Sprint(k.Older), "[]")
	return fmt.Sprintf("%d of %d segments, %s sealed anew; left are keys of epoch %s", k.Segments, k.OfSegments, humanize.IBytes(uint64(max(k.Bytes, 0))), older)
}

// newKeyNode is about the keys of the node.
func newKeyNode(a *api) *cobra.Command {
	show := func(cmd *cobra.Command, k *adminv1.NodeKeys) error {
		return show(a, cmd, k, func(w io.Writer) {
			row(w, "lock", k.Lock)
			state := "none is under way"
			if k.Rotating {
				state = "something is still sealed under keys of before: the next start seals it anew"
			}
			row(w, "rotation", state)
			row(w, "key service", orNone(k.Service))
			if k.Trouble != "" {
				row(w, "trouble", k.Trouble)
			}
		})
	}
	return group("node", "rotate the node's keys (for who operates the store)",
		`The node's keys are locked by the master key, or by a key service. They seal tenants' keys and secrets.`,
		a.verb("rotate", "lock the node's keys anew: replaces the master key in its file, or uses the key service's newest key", noArgs, func(cmd *cobra.Command, s *services, _ []string) error {
			answer, err := call(cmd.Context(), s.keys.RotateNodeKeys, &adminv1.RotateNodeKeysRequest{})
			if err != nil {
				return err
			}
			return show(cmd, answer.Keys)
		}),
		a.verb("status", "say what locks the node's keys, and how the key service is", noArgs, func(cmd *cobra.Command, s *services, _ []string) error {
			answer, err := call(cmd.Context(), s.keys.GetNodeKeys, &adminv1.GetNodeKeysRequest{})
			if err != nil {
				return err
			}
			return show(cmd, answer.Keys)
		}))
}
