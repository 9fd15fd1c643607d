package nstest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/namespace"
)

// Locks and holds in an exploration of power cuts: what was acknowledged is there, with the state that it is of.

// addLocks adds to a state which versions are locked, and which holds there are.
func (w *World) addLocks(s state) error {
	ctx := context.Background()
	listed, err := w.versions()
	if err != nil {
		return err
	}
	var locks, holds []string
	for i := range listed {
		v := &listed[i]
		if v.Marker {
			continue
		}
		info, err := w.View.HeadObject(ctx, bucket, v.Key, namespace.ReadOptions{Version: v.Version})
		if err != nil {
			return fmt.Errorf("%s, version %s: %w", v.Key, v.Version, err)
		}
		if l := info.Lock; l != nil {
			locks = append(locks, fmt.Sprintf("%s:%s:%d:%d:%v", v.Key, v.Version, l.Mode, l.Until.Unix(), l.LegalHold))
		}
	}
	all, err := w.View.Holds(ctx)
	for _, h := range all {
		holds = append(holds, h.ID+h.Prefix)
	}
	slices.Sort(locks)
	slices.Sort(holds)
	s["locks"], s["holds"] = strings.Join(locks, ","), strings.Join(holds, ",")
	return err
}

// retention draws one that lasts as long as the exploration.
func (x *explorer) retention() namespace.Retention {
	return namespace.Retention{Mode: namespace.LockMode(1 + x.rng.IntN(2)), Until: time.Now().AddDate(1+x.rng.IntN(50), 0, 0).Truncate(time.Second)}
}

// protect places a lock or a hold, or takes one away, or is refused that.
func (x *explorer) protect() bool {
	ctx := context.Background()
	switch x.rng.IntN(5) {
	case 0:
		h, err := x.w.View.PlaceHold(ctx, namespace.Hold{Bucket: bucket, Prefix: []string{"", "a", "d/"}[x.rng.IntN(3)], Reason: "an exploration"})
		require.NoError(x.t, err, x.story())
		x.logf("hold %s on %q", h.ID, h.Prefix)
		return true
	case 1:
		holds, err := x.w.View.Holds(ctx)
		require.NoError(x.t, err, x.story())
		if len(holds) == 0 {
			return false
		}
		h := holds[x.rng.IntN(len(holds))]
		x.logf("release %s", h.ID)
		require.NoError(x.t, x.w.View.ReleaseHold(ctx, h.ID, "an exploration"), x.story())
		return true
	}
	all, err := x.w.versions()
	require.NoError(x.t, err, x.story())
	all = slices.DeleteFunc(all, func(v namespace.VersionInfo) bool { return v.Marker })
	if len(all) == 0 {
		return false
	}
	v := &all[x.rng.IntN(len(all))]
	if x.rng.IntN(2) == 0 {
		on := x.rng.IntN(2) == 0
		x.logf("legal hold of %s %s %v", v.Key, v.Version, on)
		_, err = x.w.View.SetLegalHold(ctx, bucket, v.Key, v.Version, on)
	} else {
		to := x.retention()
		if x.rng.IntN(4) == 0 {
			to = namespace.Retention{}
		}
		x.logf("retention of %s %s %v", v.Key, v.Version, to)
		_, err = x.w.View.SetRetention(ctx, bucket, v.Key, v.Version, to, x.rng.IntN(2) == 0)
	}
	if err != nil {
		requireRefused(x, err)
		return false
	}
	return true
}

// requireRefused requires that a lock or a hold is why something did not happen.
func requireRefused(x *explorer, err error) {
	var e *namespace.Error
	require.True(x.t, errors.As(err, &e) && e.Kind == namespace.NotPermitted, "%v\n%s", err, x.story())
}
