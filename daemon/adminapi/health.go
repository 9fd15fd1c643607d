package adminapi

import (
	"context"
	"net/http"
	"slices"

	"connectrpc.com/connect"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

const healthService = "grpc.health.v1.Health"

// health answers gRPC's health checks: of the daemon, and of each service, which are as well as it is.
func (s *Server) health(services []string) (string, http.Handler) {
	const procedure = "/" + healthService + "/Check"
	return procedure, connect.NewUnaryHandler(procedure, func(_ context.Context, r *connect.Request[healthv1.HealthCheckRequest]) (*connect.Response[healthv1.HealthCheckResponse], error) {
		if name := r.Msg.GetService(); name != "" && !slices.Contains(services, name) {
			return nil, notFound("there is no service %q", name)
		}
		answer := &healthv1.HealthCheckResponse{Status: healthv1.HealthCheckResponse_NOT_SERVING}
		if s.o.Node.Status().GetReady() {
			answer.Status = healthv1.HealthCheckResponse_SERVING
		}
		return connect.NewResponse(answer), nil
	})
}
