package daemon

import (
	"context"
	"log/slog"
)

func (r *Report) checkNamespace(context.Context, *stores, bool, *slog.Logger) error { return nil }
