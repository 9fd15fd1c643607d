package tenancy

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"k3fs/tenancy/policy"
)

// Bounds of sessions, as AWS STS has them.
const (
	MinSession = 15 * time.Minute
	MaxSession = 12 * time.Hour

	maxSessionPolicy = 2048
	maxSessionToken  = 6 << 10

	tokenPrefix  = "K3S1"
	rolePrefix   = "role/"
	builtInRoles = "role/k3fs/"
)

// session is what a principal with temporary credentials may do of what its account may.
type session struct {
	name   string           // the one that the client gave it
	role   Role             // a built-in role that narrows; empty: none
	policy *policy.Document // nil: none
	object string           // "bucket/key" that a link is for, which is to be read; empty: no link
}

// lets reports whether the session leaves the permission to its principal.
func (s *session) lets(a Action, r *policy.Request) bool {
	if s.object != "" && !reads(a, r, s.object) {
		return false
	}
	return (s.role == "" || s.role.Has(a)) && (s.policy == nil || s.policy.Evaluate(r) == policy.Allow)
}

// NewSession is what is asked of temporary credentials.
type NewSession struct {
	// Role is the ARN of an account to act as ("arn:aws:iam::ACCOUNT:role/NAME"), or of a built-in role that narrows
	// what the caller may do ("arn:aws:iam::ACCOUNT:role/k3fs/readonly"). Empty: the caller itself.
	Role string
	// Name of the session, for the audit log.
	Name string
	// Policy can only take away; empty takes nothing away.
	Policy []byte
	// Duration is within MinSession and MaxSession; 0 is an hour.
	Duration time.Duration
}

// Session is temporary credentials, to be handed to whom they are for. Printing or logging them hides the secrets.
type Session struct {
	AccessKey, Secret, Token string
	Expires                  time.Time
	Principal                Principal // as who they act
}

// String hides the secrets.
func (s Session) String() string { return s.AccessKey + ":(hidden)" }

// GoString hides the secrets.
func (s Session) GoString() string { return s.String() }

// LogValue hides the secrets from slog.
func (s Session) LogValue() slog.Value { return slog.StringValue(s.String()) }

// ErrSessionCaller: a session asks for a session.
var ErrSessionCaller = fmt.Errorf("%w: temporary credentials can't get others", ErrDenied)

// ticket is what a session token says. It is sealed, and nothing of it is stored: a session ends with its time, with
// its account, with the account and the access key that asked for it, with its tenant, and when an administrator ends
// all sessions of one of the accounts.
type ticket struct {
	tenant            TenantID
	accessKey, secret string
	name              string
	role              Role
	policy            []byte
	issued, expires   time.Time
	as, by            bond
	parent            string // the access key that asked; empty: none did
}

// bond ties a session to an account as it was when the session began.
type bond struct {
	account  string
	serial   uint64
	sessions uint64
}

// Assume makes temporary credentials for p. For another account of its tenant p needs AssumeRole on that; nobody acts
// as root so, and only root as an operator of the node. ErrDenied also if there is no such account.
func (t *Tenancy) Assume(ctx context.Context, p Principal, n NewSession) (Session, error) {
	if p.session != nil {
		return Session{}, ErrSessionCaller
	}
	return t.grant(ctx, p, n, func(as *Account) error {
		if as.Name == p.Account {
			return nil
		}
		err := t.Allow(p, AssumeRole, Resource{Owner: p.Tenant, ARN: roleARN(p.Tenant, as.Name)})
		if err == nil && (as.Root || as.operates() && !p.Root) {
			err = fmt.Errorf("%w: %s", ErrDenied, AssumeRole)
		}
		return err
	})
}

// AssumeFederated makes temporary credentials for p, who proved himself to an identity provider that says he is that
// account, and no other: n.Role must name it, or a built-in role.
func (t *Tenancy) AssumeFederated(ctx context.Context, p Principal, n NewSession) (Session, error) {
	return t.grant(ctx, p, n, func(as *Account) error {
		if as.Name != p.Account {
			return fmt.Errorf("%w: %s", ErrDenied, AssumeRole)
		}
		return nil
	})
}

func (t *Tenancy) grant(ctx context.Context, p Principal, n NewSession, may func(as *Account) error) (Session, error) {
	if err := n.validate(); err != nil {
		return Session{}, err
	}
	if _, err := t.standingOf(p); err != nil {
		return Session{}, err
	}
	account, role, err := parseRoleARN(p, n.Role)
	if err != nil {
		return Session{}, err
	}
	as, err := t.remembered(p.Tenant, account)
	if err != nil {
		err = fmt.Errorf("%w: %s", ErrDenied, AssumeRole) // as one that may not be assumed
	}
	by, err2 := t.remembered(p.Tenant, p.Account)
	if err := errors.Join(err, err2); err != nil {
		return Session{}, err
	}
	if err := may(&as); err != nil {
		return Session{}, err
	}
	now := t.now().UTC().Truncate(time.Second)
	k := ticket{tenant: p.Tenant, name: n.Name, role: role, policy: n.Policy, issued: now, expires: now.Add(n.Duration),
		as: as.bond(), by: by.bond(), parent: p.AccessKey}
	k.accessKey, k.secret = newSessionKey()
	token, err := t.sealTicket(ctx, &k)
	if err != nil {
		return Session{}, err
	}
	who, err := t.ticketPrincipal(&k)
	t.sessions.note(&k, now)
	return Session{AccessKey: k.accessKey, Secret: k.secret, Token: token, Expires: k.expires, Principal: who}, err
}

func (n *NewSession) validate() error {
	if n.Duration == 0 {
		n.Duration = time.Hour
	}
	if n.Duration < MinSession || n.Duration > MaxSession {
		return fmt.Errorf("%w: a session lasts %d to %d seconds", ErrInvalid, int(MinSession.Seconds()), int(MaxSession.Seconds()))
	}
	if n.Name == "" {
		n.Name = "session"
	}
	if len(n.Name) < 2 || len(n.Name) > maxName || strings.ContainsFunc(n.Name, func(r rune) bool { return notKeyRune(r) && !strings.ContainsRune("=,@", r) }) {
		return fmt.Errorf("%w: a session's name has 2 to %d letters, digits or any of '=,.@-_'", ErrInvalid, maxName)
	}
	if len(n.Policy) == 0 {
		return nil
	}
	if len(n.Policy) > maxSessionPolicy {
		return fmt.Errorf("%w: a session's policy has at most %d bytes", ErrInvalid, maxSessionPolicy)
	}
	if _, err := policy.ParseIdentity(n.Policy); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

func roleARN(id TenantID, account string) string {
	return "arn:aws:iam::" + id.AccountID() + ":" + rolePrefix + account
}

// parseRoleARN reads which account of p's tenant a role ARN names, and which built-in role narrows it.
func parseRoleARN(p Principal, arn string) (account string, role Role, err error) {
	if arn == "" {
		return p.Account, "", nil
	}
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "iam" || parts[3] != "" || len(arn) > 2048 {
		return "", "", fmt.Errorf("%w: %q is not the ARN of a role (arn:aws:iam::%s:role/NAME)", ErrInvalid, arn, p.Tenant.AccountID())
	}
	denied := fmt.Errorf("%w: %s", ErrDenied, AssumeRole)
	if parts[4] != p.Tenant.AccountID() {
		return "", "", denied
	}
	if name, ok := strings.CutPrefix(parts[5], builtInRoles); ok {
		if Role(name).Validate() != nil {
			return "", "", denied
		}
		return p.Account, Role(name), nil
	}
	name, ok := strings.CutPrefix(parts[5], rolePrefix)
	if !ok || checkName("account", name) != nil {
		return "", "", denied
	}
	return name, "", nil
}

// remembered is an account as it is in memory: what sessions depend on.
func (t *Tenancy) remembered(id TenantID, name string) (Account, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if h := t.houses[id]; h != nil {
		if m := h.members[name]; m != nil {
			return Account{Tenant: id, Name: name, Root: m.root, Role: m.role, id: m.id, sessions: m.sessions}, nil
		}
	}
	return Account{}, fmt.Errorf("%w: %s", ErrNoAccount, name)
}

func (a *Account) bond() bond { return bond{a.Name, a.id, a.sessions} }

// newSessionKey makes an access key and a secret that look as AWS's temporary ones, and can't be mistaken for others.
func newSessionKey() (accessKey, secret string) {
	var raw [10 + 30]byte
	rand.Read(raw[:])
	return "K3T" + base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw[:10]) + "X",
		base64.RawURLEncoding.EncodeToString(raw[10:])
}

func (k *ticket) encode() []byte {
	e := newEncoder()
	e.string(k.accessKey)
	e.string(k.secret)
	e.string(k.name)
	e.string(string(k.role))
	e.bytes(k.policy)
	e.time(k.issued)
	e.time(k.expires)
	for _, b := range []bond{k.as, k.by} {
		e.string(b.account)
		e.uint(b.serial)
		e.uint(b.sessions)
	}
	e.string(k.parent)
	return *e
}

func decodeTicket(id TenantID, raw []byte) (*ticket, error) {
	d := newDecoder(raw)
	k := &ticket{tenant: id, accessKey: d.string(), secret: d.string(), name: d.string(), role: Role(d.string()), policy: d.bytes(),
		issued: d.time(), expires: d.time()}
	for _, b := range []*bond{&k.as, &k.by} {
		b.account, b.serial, b.sessions = d.string(), d.uint(), d.uint()
	}
	k.parent = d.string()
	return k, d.end("session token")
}

// sealTicket makes the token: the tenant and the number of its key in clear, the rest sealed by that.
func (t *Tenancy) sealTicket(ctx context.Context, k *ticket) (string, error) {
	number, key, err := t.signingKey(ctx, k.tenant, forSessions)
	if err != nil {
		return "", err
	}
	aead, err := newAEAD(key)
	if err != nil {
		return "", err
	}
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, uint64(k.tenant)), number)
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(aead.Seal(head, nil, k.encode(), append([]byte(tokenPrefix), head...))), nil
}

// openTicket reads a token that was made here, or fails with ErrBadToken.
func (t *Tenancy) openTicket(token string) (*ticket, error) {
	text, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok || len(token) > maxSessionToken {
		return nil, ErrBadToken
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	const headBytes = 8 + 4
	if err != nil || len(raw) < headBytes {
		return nil, ErrBadToken
	}
	head := raw[:headBytes:headBytes]
	id := TenantID(binary.BigEndian.Uint64(head))
	key, ok := t.signingKeyNumbered(id, forSessions, binary.BigEndian.Uint32(head[8:]))
	if !ok {
		return nil, ErrBadToken
	}
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nil, raw[headBytes:], append([]byte(tokenPrefix), head...))
	if err != nil {
		return nil, ErrBadToken
	}
	k, err := decodeTicket(id, plain)
	if err != nil {
		return nil, ErrBadToken
	}
	return k, nil
}

// authenticateSession is Authenticate for temporary credentials.
func (t *Tenancy) authenticateSession(ctx context.Context, accessKey, token string) (string, Principal, error) {
	k, err := t.openTicket(token)
	if err != nil {
		return "", Principal{}, err
	}
	if subtle.ConstantTimeCompare([]byte(k.accessKey), []byte(accessKey)) != 1 {
		return "", Principal{}, ErrBadToken
	}
	if !t.now().Before(k.expires) {
		return "", Principal{}, ErrExpired
	}
	if k.parent != "" {
		if _, _, err := t.Authenticate(ctx, k.parent, ""); errors.Is(err, ErrNoSuchKey) {
			return "", Principal{}, ErrBadToken
		} else if err != nil {
			return "", Principal{}, err
		}
	}
	who, err := t.ticketPrincipal(k)
	if err != nil {
		return "", Principal{}, err
	}
	t.sessions.note(k, t.now())
	return k.secret, who, nil
}

// ticketPrincipal is who a session acts as, if its accounts are what they were: ErrBadToken or ErrSuspended if not.
func (t *Tenancy) ticketPrincipal(k *ticket) (Principal, error) {
	var who Principal
	for _, b := range []bond{k.by, k.as} {
		a, err := t.remembered(k.tenant, b.account)
		if err != nil || a.bond() != b {
			return Principal{}, ErrBadToken
		}
		who = a.principal()
		switch _, err := t.standingOf(who); {
		case errors.Is(err, ErrSuspended):
			return Principal{}, ErrSuspended
		case err != nil:
			return Principal{}, ErrBadToken
		}
	}
	s := &session{name: k.name, role: k.role}
	if len(k.policy) > 0 {
		var err error
		if s.policy, err = t.remember("\x00session\x00"+string(k.policy), func() (*policy.Document, error) { return policy.ParseIdentity(k.policy) }); err != nil {
			return Principal{}, ErrBadToken
		}
	}
	who.AccessKey, who.session = k.accessKey, s
	return who, nil
}
