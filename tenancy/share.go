package tenancy

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"k3fs/metastore"
	"k3fs/tenancy/policy"
)

// The query parameters of a share link.
const (
	ShareToken   = "X-K3-Token"
	ShareExpires = "X-K3-Expires"
	ShareOrg     = "X-K3-Org"
)

const (
	// MaxShare is how long a share link lives at most.
	MaxShare = 24 * time.Hour

	maxShares    = 10_000 // of a tenant, that are not over
	shareIDBytes = 12
	maxShareKey  = 1024
)

// Share is a link by which anybody may read one object for a while, with the permissions that the account which made it
// has when the link is used.
type Share struct {
	ID              string
	Account         string
	Bucket, Key     string
	Version         string // empty: whichever is current
	Created         time.Time
	Expires         time.Time
	serial, session uint64 // of the account
}

// ShareClaim is what a request says of itself that comes by a link.
type ShareClaim struct {
	Bucket, Key, Version string
	Token, Expires, Org  string // the query parameters
}

// NewShare is what a link is made for.
type NewShare struct {
	Bucket, Key, Version string
	Life                 time.Duration // at most MaxShare; 0 is an hour
}

// ShareLink is what makes a link, beside the object's URL: the query parameters. It is as good as the object to whom it
// is shown.
type ShareLink struct {
	Share
	Token, Org string
	Until      string // Expires as the parameter has it
}

// Share makes a link for p's account. Whether that may read the object is asked when the link is used. Temporary
// credentials that narrow make none: the link would outlive them.
func (t *Tenancy) Share(ctx context.Context, p Principal, n NewShare) (ShareLink, error) {
	switch {
	case p.session != nil:
		return ShareLink{}, fmt.Errorf("%w: temporary credentials make no links: use the account's own access key", ErrDenied)
	case n.Bucket == "" || n.Key == "" || len(n.Bucket) > 255 || len(n.Key) > maxShareKey || len(n.Version) > maxShareKey:
		return ShareLink{}, fmt.Errorf("%w: a link is for one object: bucket and key are required", ErrInvalid)
	case n.Life == 0:
		n.Life = time.Hour
	}
	if n.Life < time.Second || n.Life > MaxShare {
		return ShareLink{}, fmt.Errorf("%w: a link lives between a second and %v", ErrInvalid, MaxShare)
	}
	if _, err := t.standingOf(p); err != nil {
		return ShareLink{}, err
	}
	number, key, err := t.signingKey(ctx, p.Tenant, forShares)
	if err != nil {
		return ShareLink{}, err
	}
	var id [shareIDBytes]byte
	rand.Read(id[:])
	now := t.now().UTC().Truncate(time.Second)
	link := ShareLink{Share: Share{ID: hex.EncodeToString(id[:]), Account: p.Account, Bucket: n.Bucket, Key: n.Key, Version: n.Version,
		Created: now, Expires: now.Add(n.Life)}, Org: p.Tenant.AccountID()}
	link.Until = strconv.FormatInt(link.Expires.Unix(), 10)
	err = t.change(ctx, func(c *change) error {
		a, err := getAccount(c, p.Tenant, p.Account)
		if err != nil {
			return err
		}
		link.serial, link.session = a.id, a.sessions
		if err := c.tidyShares(p.Tenant, now); err != nil {
			return err
		}
		return c.Set(shareKey(p.Tenant, link.ID), encodeShare(link.Share))
	})
	raw := binary.BigEndian.AppendUint32(id[:], number)
	mac := shareMAC(key, p.Tenant, raw, ShareClaim{Bucket: n.Bucket, Key: n.Key, Version: n.Version, Expires: link.Until})
	link.Token = base64.RawURLEncoding.EncodeToString(append(raw, mac...))
	return link, err
}

// tidyShares removes the links that are over, and refuses another where there are too many that are not.
func (c *change) tidyShares(id TenantID, now time.Time) error {
	var over []string
	n := 0
	err := scan(c, shareKey(id, ""), func(name, raw []byte) error {
		n++
		one, err := decodeShare(string(name), raw)
		if err == nil && !now.Before(one.Expires) && len(over) < maxPage {
			over = append(over, one.ID)
		}
		return err
	})
	for _, name := range over {
		err = errors.Join(err, c.Delete(shareKey(id, name)))
	}
	return errors.Join(err, tooMany(n-len(over), maxShares, "links"))
}

// shareMAC is the proof of a link. Reading is all that a link is for, so GET stands for HEAD, too.
func shareMAC(key [keyBytes]byte, id TenantID, raw []byte, s ShareClaim) []byte {
	mac := hmac.New(sha256.New, key[:])
	e := newEncoder()
	for _, field := range []string{"k3fs share 1", "GET", id.AccountID(), s.Bucket, s.Key, s.Version, s.Expires} {
		e.string(field)
	}
	e.bytes(raw) // the link's id and the number of the key
	mac.Write(*e)
	return mac.Sum(nil)
}

// Shared is whom a link speaks for: the account that made it, for that object alone. ErrExpired for one that was right
// and is over; ErrDenied for all others.
func (t *Tenancy) Shared(ctx context.Context, s ShareClaim) (Principal, error) {
	denied := fmt.Errorf("%w: no such link", ErrDenied)
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s.Token)
	org, orgErr := strconv.ParseUint(s.Org, 10, 63)
	until, untilErr := strconv.ParseInt(s.Expires, 10, 63)
	const headBytes = shareIDBytes + 4
	if err != nil || orgErr != nil || untilErr != nil || len(raw) != headBytes+sha256.Size || TenantID(org).AccountID() != s.Org {
		return Principal{}, denied
	}
	id := TenantID(org)
	key, known := t.signingKeyNumbered(id, forShares, binary.BigEndian.Uint32(raw[shareIDBytes:]))
	if !hmac.Equal(shareMAC(key, id, raw[:headBytes], s), raw[headBytes:]) || !known {
		return Principal{}, denied
	}
	if t.now().Unix() >= until {
		return Principal{}, ErrExpired
	}
	var one Share
	err = t.kv.View(ctx, func(r metastore.Reader) (err error) {
		one, err = getShare(r, id, hex.EncodeToString(raw[:shareIDBytes]))
		return err
	})
	if errors.Is(err, metastore.ErrNotFound) { // revoked
		return Principal{}, denied
	}
	if err != nil {
		return Principal{}, err
	}
	return t.sharer(id, one, denied)
}

// sharer is the account that made a link, if it is what it was, narrowed to the object.
func (t *Tenancy) sharer(id TenantID, one Share, denied error) (Principal, error) {
	a, err := t.remembered(id, one.Account)
	if err != nil || a.id != one.serial || a.sessions != one.session {
		return Principal{}, denied
	}
	who := a.principal()
	if _, err := t.standingOf(who); err != nil {
		return Principal{}, denied
	}
	who.session = &session{name: one.ID, object: one.Bucket + "/" + one.Key}
	return who, nil
}

// reads reports whether a link for an object lets its principal do that.
func reads(a Action, r *policy.Request, object string) bool {
	return (a == GetObject || a == GetObjectVersion) && r.Resource == object
}

// Shares lists the tenant's links that are not over, by id, as Accounts does. It needs ListShares.
func (a *Admin) Shares(ctx context.Context, after string, limit int) (all []Share, next string, err error) {
	err = a.see(ctx, ListShares, "", func(r metastore.Reader) (err error) {
		all = nil
		next, err = page(r, shareKey(a.who.Tenant, ""), after, limit, func(name string, raw []byte) error {
			one, err := decodeShare(name, raw)
			if err == nil && a.t.now().Before(one.Expires) {
				all = append(all, one)
			}
			return err
		})
		return err
	})
	return all, next, err
}

// ErrNoShare: there is no link of that id.
var ErrNoShare = errors.New("tenancy: no such link")

// RevokeShare ends one link. It needs RevokeShare.
func (a *Admin) RevokeShare(ctx context.Context, id string) error {
	return a.do(ctx, RevokeShare, "", func(c *change) error {
		if there, err := has(c, shareKey(a.who.Tenant, id)); err != nil || !there {
			return errors.Join(err, fmt.Errorf("%w: %s", ErrNoShare, id))
		}
		return c.Delete(shareKey(a.who.Tenant, id))
	})
}

// RevokeShares ends all links of the tenant, by another key to sign them with. It needs RevokeShare.
func (a *Admin) RevokeShares(ctx context.Context) error {
	return a.do(ctx, RevokeShare, "", func(c *change) error { return a.t.replaceSigning(c, a.who.Tenant, forShares) })
}

func getShare(r metastore.Reader, id TenantID, name string) (Share, error) {
	raw, err := r.Get(shareKey(id, name))
	if err != nil {
		return Share{}, err
	}
	return decodeShare(name, raw)
}

func encodeShare(s Share) []byte {
	e := newEncoder()
	e.string(s.Account)
	e.uint(s.serial)
	e.uint(s.session)
	e.string(s.Bucket)
	e.string(s.Key)
	e.string(s.Version)
	e.time(s.Created)
	e.time(s.Expires)
	return *e
}

func decodeShare(id string, raw []byte) (Share, error) {
	d := newDecoder(raw)
	s := Share{ID: id, Account: d.string(), serial: d.uint(), session: d.uint(), Bucket: d.string(), Key: d.string(), Version: d.string(),
		Created: d.time(), Expires: d.time()}
	return s, d.end("link record")
}
