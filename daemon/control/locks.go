package control

import (
	"encoding/json"
	"time"
)

// The operations about locks and holds, for who has an access key, or for the host's administrator, who acts as
// the root account of Request.Tenant. Arguments and answers are in Args and Data.
const (
	OpHoldPlace    = "hold.place"    // Hold; answers Hold
	OpHoldRelease  = "hold.release"  // Hold with ID and Reason
	OpHoldList     = "hold.list"     // Page; answers []Hold
	OpHoldReport   = "hold.report"   // Page; answers []HoldUse
	OpAuditRecords = "audit.records" // Page; answers AuditPage
	OpAuditHead    = "audit.head"    // AuditCheck; answers AuditAnswer
	OpClockShow    = "clock.show"    // answers Clock
	OpClockConfirm = "clock.confirm" // the host's administrator's alone; answers Clock
)

// Hold is a hold as namespace.Hold says it.
type Hold struct {
	ID      string    `json:"id"`
	Bucket  string    `json:"bucket,omitempty"`
	Prefix  string    `json:"prefix,omitempty"`
	Reason  string    `json:"reason"`
	By      string    `json:"by"`
	Created time.Time `json:"created"`
	Until   time.Time `json:"until,omitzero"`
	Period  string    `json:"period,omitempty"` // as time.ParseDuration has it
	Tag     string    `json:"regime,omitempty"`
}

// HoldUse is a hold, and what it holds.
type HoldUse struct {
	Hold
	Over    bool  `json:"over,omitempty"`
	Objects int64 `json:"objects"` // versions
	Bytes   int64 `json:"bytes"`
}

// Page says which part of a list is asked for.
type Page struct{ After, Limit int }

// AuditPage is some records of an audit log, each as it is stored.
type AuditPage struct {
	Records []json.RawMessage
	Head    json.RawMessage
}

// AuditCheck asks for the head of the log: after verifying it all, or whether the log begins with an export that
// ends so.
type AuditCheck struct {
	Verify bool
	Seq    uint64
	Hash   string
}

// AuditAnswer is the log's head, and whether it begins so.
type AuditAnswer struct {
	Head json.RawMessage
	Has  bool
}

// Clock is the clock of locks.
type Clock struct {
	Now    time.Time `json:"locks"`
	Wall   time.Time `json:"host"`
	Frozen bool      `json:"frozen"`
}
