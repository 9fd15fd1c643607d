package control

import (
	"fmt"
	"strconv"
	"strings"
)

// Accounts say as which account each user of the host acts in a mount. The empty name is nobody, who may do nothing.
type Accounts struct {
	Users  map[uint32]string `json:",omitempty"` // by the user's number
	Groups map[uint32]string `json:",omitempty"` // by the number of his process's group, where Users says nothing
	Others string            `json:",omitempty"` // everybody else
}

// Of is the account of a user in a group; empty if he has none.
func (a *Accounts) Of(uid, gid uint32) string {
	if name, ok := a.Users[uid]; ok {
		return name
	}
	if name, ok := a.Groups[gid]; ok {
		return name
	}
	return a.Others
}

// Names are the accounts that it names, without repetition.
func (a *Accounts) Names() map[string]bool {
	all := map[string]bool{a.Others: true}
	for _, some := range []map[uint32]string{a.Users, a.Groups} {
		for _, name := range some {
			all[name] = true
		}
	}
	delete(all, "")
	return all
}

// ParseAccounts reads a table: a line for each user ("1000 alice"), group ("@100 staff") or everybody else ("* guest"), and
// his account, "-" if he is refused, as are those of whom no line speaks. "#" begins a comment.
func ParseAccounts(text string) (*Accounts, error) {
	a := &Accounts{Users: map[uint32]string{}, Groups: map[uint32]string{}}
	others := false
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(words) != 2 {
			return nil, fmt.Errorf("line %d: not UID ACCOUNT, @GID ACCOUNT or * ACCOUNT", n)
		}
		who, account := words[0], words[1]
		if account == "-" {
			account = ""
		}
		if who == "*" {
			if others {
				return nil, fmt.Errorf("line %d: a second * line", n)
			}
			a.Others, others = account, true
			continue
		}
		to := a.Users
		number, group := strings.CutPrefix(who, "@")
		if group {
			to = a.Groups
		}
		id, err := strconv.ParseUint(number, 10, 32)
		if err != nil || id == 1<<32-1 {
			return nil, fmt.Errorf("line %d: %q is no number of a user or, behind @, of a group", n, who)
		}
		if _, twice := to[uint32(id)]; twice {
			return nil, fmt.Errorf("line %d: a second line for %s", n, who)
		}
		to[uint32(id)] = account
	}
	return a, nil
}
