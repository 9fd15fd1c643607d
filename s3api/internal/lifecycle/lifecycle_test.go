package lifecycle

import (
	"encoding/xml"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 2, 28, 12, 0, 0, 0, time.UTC)

func TestDue(t *testing.T) {
	const day = 24 * time.Hour
	require.Equal(t, "2026-03-02T00:00:00Z", Due(noon, 1, day).Format(time.RFC3339), "rounded up to midnight")
	require.Equal(t, noon.Truncate(day).Add(2*day), Due(noon.Truncate(day), 2, day), "midnight is no other day")
	require.Equal(t, noon.Add(20*time.Second), Due(noon, 2, 10*time.Second))
	// More days than a Duration holds are not over before they began.
	for _, days := range []int{106_752, 200_000, math.MaxInt32, math.MaxInt64} {
		require.True(t, Due(noon, days, day).After(noon.AddDate(200, 0, 0)), days)
	}
}

func rule(t *testing.T, doc string) *Rule {
	t.Helper()
	var r Rule
	require.NoError(t, xml.Unmarshal([]byte("<Rule>"+doc+"</Rule>"), &r))
	c := Config{Rules: []Rule{r}}
	require.NoError(t, c.Check(), doc)
	return &c.Rules[0]
}

func TestMatches(t *testing.T) {
	const enabled = "<Status>Enabled</Status><Expiration><Days>1</Days></Expiration>"
	for doc, want := range map[string]bool{
		"<Prefix>a/</Prefix>":                  true,
		"<Prefix>b/</Prefix>":                  false,
		"<Filter/>":                            true,
		"<Filter><Prefix>a/</Prefix></Filter>": true,
		"<Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter>":                                                                true,
		"<Filter><Tag><Key>k</Key><Value>w</Value></Tag></Filter>":                                                                false,
		"<Filter><ObjectSizeGreaterThan>10</ObjectSizeGreaterThan></Filter>":                                                      false,
		"<Filter><ObjectSizeGreaterThan>9</ObjectSizeGreaterThan></Filter>":                                                       true,
		"<Filter><ObjectSizeLessThan>10</ObjectSizeLessThan></Filter>":                                                            false,
		"<Filter><And><Prefix>a/</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter>":                                  true,
		"<Filter><And><Prefix>b/</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter>":                                  false,
		"<Filter><And><ObjectSizeGreaterThan>1</ObjectSizeGreaterThan><ObjectSizeLessThan>11</ObjectSizeLessThan></And></Filter>": true,
	} {
		o := Object{Key: "a/b", Size: 10, Modified: noon, Tags: func() (map[string]string, error) { return map[string]string{"k": "v"}, nil }}
		got, err := rule(t, doc+enabled).Matches(&o)
		require.NoError(t, err)
		require.Equal(t, want, got, doc)
		got, err = rule(t, doc+"<Status>Disabled</Status><Expiration><Days>1</Days></Expiration>").Matches(&o)
		require.NoError(t, err)
		require.False(t, got)
	}
}

func TestGivesUp(t *testing.T) {
	r := rule(t, "<Prefix>a/</Prefix><Status>Enabled</Status><AbortIncompleteMultipartUpload><DaysAfterInitiation>3</DaysAfterInitiation></AbortIncompleteMultipartUpload>")
	at, ok := r.GivesUp("a/b", noon, time.Hour)
	require.True(t, ok)
	require.Equal(t, noon.Add(3*time.Hour), at)
	_, ok = r.GivesUp("b", noon, time.Hour)
	require.False(t, ok)
}

// A filter that names two things outside of And could be meant either way, so it is refused.
func TestAmbiguousFilters(t *testing.T) {
	for _, filter := range []string{
		"<Prefix>a</Prefix><Tag><Key>k</Key><Value>v</Value></Tag>",
		"<Tag><Key>k</Key><Value>v</Value></Tag><And><Prefix>a</Prefix></And>",
		"<ObjectSizeGreaterThan>1</ObjectSizeGreaterThan><ObjectSizeLessThan>9</ObjectSizeLessThan>",
	} {
		var r Rule
		require.NoError(t, xml.Unmarshal([]byte("<Rule><Filter>"+filter+"</Filter><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule>"), &r))
		require.Error(t, (&Config{Rules: []Rule{r}}).Check(), filter)
	}
}
