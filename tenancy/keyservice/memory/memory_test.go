package memory

import (
	"testing"

	"k3fs/tenancy/keyservice/kstest"
)

func TestService(t *testing.T) {
	kstest.Run(t, func(*testing.T) kstest.Fixture {
		s := New()
		return kstest.Fixture{Service: s, SetAway: s.SetAway}
	})
}
