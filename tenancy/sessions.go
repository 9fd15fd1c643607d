package tenancy

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"k3fs/metastore"
)

// maxSeen bounds the sessions that are remembered, for lists of them; more are not noted until some are over.
const maxSeen = 16 << 10

// SessionInfo is temporary credentials as they may be shown.
type SessionInfo struct {
	AccessKey, Name string
	Account, By     string // as whom it acts, and who asked for it
	Role            Role   // a built-in one that narrows it; empty: none
	Issued, Expires time.Time
}

// seenSessions are the sessions that this run has made or seen. They are not stored, so what was made before and not
// used since is not among them.
type seenSessions struct {
	all sync.Map // of access key to *ticket, without its secret

	mu    sync.Mutex // held while one is added, or those that are over are dropped
	count int        // guarded by mu
	swept time.Time  // guarded by mu
}

// note remembers a session.
func (s *seenSessions) note(k *ticket, now time.Time) {
	if _, known := s.all.Load(k.accessKey); known {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count >= maxSeen && now.Sub(s.swept) > time.Minute {
		s.sweep(now)
	}
	if s.count >= maxSeen {
		return
	}
	shown := *k
	shown.secret, shown.policy = "", nil
	if _, known := s.all.LoadOrStore(k.accessKey, &shown); !known {
		s.count++
	}
}

// sweep drops those that are over. s.mu must be held.
func (s *seenSessions) sweep(now time.Time) {
	s.swept = now
	s.all.Range(func(key, one any) bool {
		if !now.Before(one.(*ticket).expires) {
			s.all.Delete(key)
			s.count--
		}
		return true
	})
}

// Sessions lists temporary credentials that can still be used, of an account or of all where that is empty, by when they
// end: those that act as it, and those that it asked for, as far as this run has made or seen them. It needs ListSessions.
func (a *Admin) Sessions(ctx context.Context, account string) (all []SessionInfo, err error) {
	err = a.see(ctx, ListSessions, account, func(r metastore.Reader) error {
		if account == "" {
			return nil
		}
		_, err := getAccount(r, a.who.Tenant, account)
		return err
	})
	if err != nil {
		return nil, err
	}
	now := a.t.now()
	a.t.sessions.all.Range(func(_, one any) bool {
		k := one.(*ticket)
		if k.tenant != a.who.Tenant || !now.Before(k.expires) || account != "" && k.as.account != account && k.by.account != account {
			return true
		}
		if _, err := a.t.ticketPrincipal(k); err == nil { // not ended since
			all = append(all, SessionInfo{k.accessKey, k.name, k.as.account, k.by.account, k.role, k.issued, k.expires})
		}
		return true
	})
	slices.SortFunc(all, func(x, y SessionInfo) int {
		if c := x.Expires.Compare(y.Expires); c != 0 {
			return c
		}
		return strings.Compare(x.AccessKey, y.AccessKey)
	})
	return all, nil
}
