package tenancy

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"k3fs/metastore"
)

const (
	maxAttached   = 10      // policies attached to one account, as IAM has it
	maxAccounts   = 10_000  // of a tenant
	maxPage       = 1000    // of a listing
	maxExpiryYear = 9999    // what a record's times can say
	maxOverlap    = 7 * day // how long a rotated secret may live on

	day = 24 * time.Hour
)

// Account is an identity inside a tenant, with any number of access keys.
type Account struct {
	Tenant   TenantID
	Name     string
	Root     bool // the tenant's root account, whom roles and policies don't restrict
	Role     Role // empty for root
	Disabled bool
	Created  time.Time
	Expires  time.Time // zero: never
	Policies []string  // names of the attached ones, sorted

	id        uint64 // tells it from an earlier one of the same name; 0 in old records
	sessions  uint64 // counts how often all its sessions were ended
	rootKey   string // of the root account: its access key
	generated bool   // of the root account: rootKey was made here, not given
}

func (a *Account) member() *member {
	return &member{id: a.id, root: a.Root, role: a.Role, disabled: a.Disabled, expires: a.Expires, policies: a.Policies, sessions: a.sessions}
}

// principal is who acts as the account.
func (a *Account) principal() Principal {
	return Principal{Tenant: a.Tenant, Account: a.Name, Root: a.Root, serial: a.id}
}

// NewAccount is what an account is made with.
type NewAccount struct {
	Role     Role // default RoleReadWrite
	Disabled bool
	Expires  time.Time // zero: never
	Policies []string  // to attach
}

// AccountChange says what is to change of an account; nil leaves a thing as it is.
type AccountChange struct {
	Role     *Role
	Disabled *bool
	Expires  *time.Time // the zero time: never
}

// CreateAccount makes an account inside a tenant, durably, for the daemon itself; who asks on behalf of somebody uses
// As. ErrExists if the name is taken.
func (t *Tenancy) CreateAccount(ctx context.Context, id TenantID, name string, n NewAccount) (Account, error) {
	var made Account
	err := t.change(ctx, func(c *change) (err error) {
		made, err = t.createAccount(c, id, name, n)
		return err
	})
	return made, err
}

func (t *Tenancy) createAccount(c *change, id TenantID, name string, n NewAccount) (Account, error) {
	if n.Role == "" {
		n.Role = RoleReadWrite
	}
	if err := errors.Join(checkName("account", name), n.Role.Validate(), t.checkExpiry(n.Expires)); err != nil {
		return Account{}, err
	}
	if _, err := getTenant(c, id); err != nil {
		return Account{}, err
	}
	if taken, err := has(c, accountKey(id, name)); err != nil || taken {
		return Account{}, orExists(err, "account "+name)
	}
	if n, err := count(c, accountKey(id, "")); err != nil || n >= maxAccounts {
		return Account{}, errors.Join(err, tooMany(n, maxAccounts, "accounts in a tenant"))
	}
	serial, err := newSerial()
	if err != nil {
		return Account{}, err
	}
	made := Account{Tenant: id, Name: name, Role: n.Role, Disabled: n.Disabled, Created: t.now().UTC().Truncate(time.Second),
		Expires: n.Expires.UTC().Truncate(time.Second), id: serial}
	for _, p := range n.Policies {
		if err := made.attach(c, p); err != nil {
			return Account{}, err
		}
	}
	return made, c.putAccount(made)
}

// attach adds a policy to the account; one that is attached already is no error.
func (a *Account) attach(r metastore.Reader, name string) error {
	if a.Root {
		return fmt.Errorf("%w: policies don't restrict a root account; make another account", ErrInvalid)
	}
	if _, err := getPolicy(r, a.Tenant, name); err != nil {
		return err
	}
	at, found := slices.BinarySearch(a.Policies, name)
	if found {
		return nil
	}
	if len(a.Policies) >= maxAttached {
		return fmt.Errorf("%w: an account has at most %d policies attached", ErrInvalid, maxAttached)
	}
	a.Policies = slices.Insert(slices.Clone(a.Policies), at, name)
	return nil
}

// detach takes a policy away from the account; one that is not attached is no error.
func (a *Account) detach(name string) error {
	a.Policies = slices.DeleteFunc(slices.Clone(a.Policies), func(p string) bool { return p == name })
	return nil
}

func (c *change) putAccount(a Account) error {
	c.accounts[named{a.Tenant, a.Name}] = true
	return c.Set(accountKey(a.Tenant, a.Name), encodeAccount(a))
}

// with applies a change to an account that it returns.
func (t *Tenancy) with(a Account, ch AccountChange) (Account, error) {
	if a.Root {
		return a, fmt.Errorf("%w: a root account can't be changed: suspend the tenant, or delete the account's keys", ErrInvalid)
	}
	if ch.Role != nil {
		a.Role = *ch.Role
	}
	if ch.Disabled != nil {
		a.Disabled = *ch.Disabled
	}
	if ch.Expires != nil {
		a.Expires = ch.Expires.UTC().Truncate(time.Second)
		if err := t.checkExpiry(a.Expires); err != nil {
			return a, err
		}
	}
	return a, a.Role.Validate()
}

// checkExpiry refuses a time that is over; who wants that disables.
func (t *Tenancy) checkExpiry(at time.Time) error {
	if !at.IsZero() && (!at.After(t.now()) || at.Year() > maxExpiryYear) {
		return fmt.Errorf("%w: the time of expiry must be in the future, and before the year 10000", ErrInvalid)
	}
	return nil
}

// deleteAccount removes an account with its access keys.
func (c *change) deleteAccount(a Account) error {
	if a.Root {
		return fmt.Errorf("%w: a tenant's root account goes with its tenant", ErrInvalid)
	}
	return c.dropAccount(a)
}

func (c *change) dropAccount(a Account) error {
	keys, err := keysOf(c, a.Tenant, a.Name)
	for _, key := range keys {
		err = errors.Join(err, dropCredential(c, key))
	}
	c.accounts[named{a.Tenant, a.Name}] = true
	return errors.Join(err, c.Delete(accountKey(a.Tenant, a.Name)))
}

func getAccount(r metastore.Reader, id TenantID, name string) (Account, error) {
	raw, err := r.Get(accountKey(id, name))
	if errors.Is(err, metastore.ErrNotFound) {
		return Account{}, fmt.Errorf("%w: %s", ErrNoAccount, name)
	}
	if err != nil {
		return Account{}, err
	}
	return decodeAccount(id, name, raw)
}

// page reads records after the one named after, at most limit of them; next is the after of the next page, or "".
func page(r metastore.Reader, prefix []byte, after string, limit int, fn func(name string, raw []byte) error) (next string, err error) {
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	n, last := 0, ""
	err = scanFrom(r, prefix, after, func(rest, raw []byte) (bool, error) {
		if n == limit {
			next = last
			return false, nil
		}
		n, last = n+1, string(rest)
		return true, fn(last, raw)
	})
	return next, err
}

func count(r metastore.Reader, prefix []byte) (n int, err error) {
	return n, scan(r, prefix, func(_, _ []byte) error {
		n++
		return nil
	})
}

func tooMany(n, limit int, what string) error {
	if n < limit {
		return nil
	}
	return fmt.Errorf("%w: there are %d %s already, which is the most", ErrInvalid, n, what)
}

// newSerial is a random number that is not 0.
func newSerial() (uint64, error) {
	var raw [8]byte
	_, err := rand.Read(raw[:])
	return binary.BigEndian.Uint64(raw[:]) | 1, err
}
