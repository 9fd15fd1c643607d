package nstest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"

	"k3fs/namespace"
	"k3fs/tenancy"
)

// keepVersions makes the bucket a versioned one.
func (w *World) keepVersions() error {
	return w.View.ChangeBucketSettings(context.Background(), bucket, tenancy.PutBucketVersioning, func(_ namespace.BucketInfo, s tenancy.Settings) error {
		s[namespace.SettingVersioning] = []byte(namespace.VersioningEnabled)
		return nil
	})
}

// tags remembers what versions hold, by their ETags: those of S3 are of the bytes, those of the mount are unique.
type tags map[string]string

// chains are what each key was, newest first, as a recovery would show it: what it holds now, then what S3
// lists. The same twice in a row counts once, since a draft may be of the same bytes.
func (w *World) chains(now state, known tags) (state, error) {
	listed, err := w.versions()
	if err != nil {
		return nil, err
	}
	chains := map[string][]string{}
	for path, t := range now {
		if t != unpublished {
			chains[path] = append(chains[path], t)
		}
	}
	for i := range listed {
		v := &listed[i]
		t := "deleted"
		if !v.Marker {
			if t, err = w.tagOf(v, known); err != nil {
				return nil, fmt.Errorf("%s, version %s: %w", v.Key, v.Version, err)
			}
		}
		chain := chains[v.Key]
		if n := len(chain); n == 0 || chain[n-1] != t {
			chains[v.Key] = append(chain, t)
		}
	}
	s := state{}
	for key, chain := range chains {
		s[key] = strings.Join(chain, " < ")
	}
	return s, nil
}

// versions lists all that the keys were, but for directories.
func (w *World) versions() (all []namespace.VersionInfo, err error) {
	o := namespace.VersionsOptions{Max: 100}
	for {
		page, err := w.View.ListVersions(context.Background(), bucket, o)
		if err != nil {
			return nil, err
		}
		for _, v := range page.Versions {
			if !strings.HasSuffix(v.Key, "/") {
				all = append(all, v)
			}
		}
		if o.KeyMarker, o.VersionMarker = page.NextKey, page.NextVersion; !page.Truncated {
			return all, nil
		}
	}
}

func (w *World) tagOf(v *namespace.VersionInfo, known tags) (string, error) {
	if t, ok := known[v.ETag]; ok {
		return t, nil
	}
	ctx := context.Background()
	r, err := w.View.GetObject(ctx, bucket, v.Key, namespace.ReadOptions{Version: v.Version})
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	_, err = r.WriteRange(ctx, &b, 0, v.Size)
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	t := tag(b.Bytes())
	if err == nil {
		known[v.ETag] = t
	}
	return t, err
}

// recorded is the state that a recovery of all commits would show.
func (x *explorer) recorded() state {
	if !x.versioned {
		return x.now
	}
	s, err := x.w.chains(x.now, x.known)
	require.NoError(x.t, err, x.story())
	if x.locked {
		require.NoError(x.t, x.w.addLocks(s), x.story())
	}
	return s
}

// forget removes a version for good.
func (x *explorer) forget() bool {
	all, err := x.w.versions()
	require.NoError(x.t, err, x.story())
	if len(all) == 0 {
		return false
	}
	v := &all[x.rng.IntN(len(all))]
	current := v.Latest && !v.Marker
	if current && (x.now[v.Key] != x.known[v.ETag] || x.open(v.Key)) || v.Latest && v.Marker && x.now[v.Key] != "" {
		return false // the model does not say what then becomes of the draft
	}
	if v.Latest && x.orphans() {
		return false // nor if a file comes back to the key that a session has open which was parted from it
	}
	x.logf("DELETE %s version %s", v.Key, v.Version)
	ctx := context.Background()
	done, err := x.w.View.DeleteObject(ctx, bucket, v.Key, namespace.DeleteOptions{Version: v.Version, Bypass: x.rng.IntN(2) == 0})
	if x.locked && err != nil {
		requireRefused(x, err)
		return false // and it left no trace
	}
	require.NoError(x.t, err, x.story())
	require.True(x.t, done.Found, x.story())
	if !v.Latest {
		return true
	}
	delete(x.now, v.Key)
	left, err := x.w.versions()
	require.NoError(x.t, err, x.story())
	for i := range left {
		if left[i].Key == v.Key && left[i].Latest && !left[i].Marker {
			x.now[v.Key], err = x.w.tagOf(&left[i], x.known)
			require.NoError(x.t, err, x.story())
		}
	}
	return true
}

// orphans reports whether a session has a file open whose name was taken away.
func (x *explorer) orphans() bool {
	return slices.ContainsFunc(x.sessions, func(s *session) bool { return s.path == "" && !s.nameless })
}

// open reports whether a session has the path's file open.
func (x *explorer) open(path string) bool {
	for _, s := range x.sessions {
		if s.path == path {
			return true
		}
	}
	return false
}
