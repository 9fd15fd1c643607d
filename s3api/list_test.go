package s3api

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/namespace"
	"k3fs/tenancy"
)

// TestLongPages: a page that is sent in parts is what one in a piece would be, wherever it ends.
func TestLongPages(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	var all []string // entries with the delimiter, in order
	for i := range 2*namespace.ListPart + 50 {
		key := fmt.Sprintf("k%04d", i)
		if i%40 == 7 {
			key += "/inside"
		}
		w.want(200, http.MethodPut, "/bucket/"+key, "", nil)
		all = append(all, strings.TrimSuffix(key, "inside"))
	}
	for _, query := range []string{"list-type=2&delimiter=/&fetch-owner=true&start-after=", "delimiter=/&marker="} {
		for _, size := range []int{len(all) + 1, len(all), namespace.ListPart - 1, namespace.ListPart, namespace.ListPart + 1, 2 * namespace.ListPart, 7} {
			var got []string
			for after, more := "", true; more; {
				text := w.want(200, http.MethodGet, fmt.Sprintf("/bucket?max-keys=%d&%s%s", size, query, after), "", nil)
				p := parsePage(t, text)
				require.Len(t, p.entries(), min(size, len(all)-len(got)))
				require.Equal(t, strings.Count(text, "<Contents>"), strings.Count(text, "<Owner>"))
				if strings.HasPrefix(query, "list-type=2") {
					require.Equal(t, len(p.entries()), p.KeyCount)
				}
				got = append(got, p.entries()...)
				require.Equal(t, len(got) < len(all), p.IsTruncated)
				after, more = got[len(got)-1], p.IsTruncated
			}
			require.Equal(t, all, got)
		}
	}
}

type parsedPage struct {
	Contents       []struct{ Key string }
	CommonPrefixes []struct{ Prefix string }
	IsTruncated    bool
	KeyCount       int
}

func parsePage(t *testing.T, text string) (p parsedPage) {
	t.Helper()
	require.NoError(t, xml.Unmarshal([]byte(text), &p))
	return p
}

// entries are keys and common prefixes, merged.
func (p parsedPage) entries() (all []string) {
	keys, prefixes := p.Contents, p.CommonPrefixes
	for len(keys)+len(prefixes) > 0 {
		if len(prefixes) == 0 || len(keys) > 0 && keys[0].Key < prefixes[0].Prefix {
			all, keys = append(all, keys[0].Key), keys[1:]
		} else {
			all, prefixes = append(all, prefixes[0].Prefix), prefixes[1:]
		}
	}
	return all
}

// breaking fails in the middle of a page.
type breaking struct {
	namespace.Objects
	err any // what ListObjects returns, or panics with
}

func (b breaking) ListObjects(_ context.Context, _ string, o namespace.ListOptions) (namespace.ListPage, error) {
	o.Found(make([]namespace.ObjectInfo, namespace.ListPart))
	if err, ok := b.err.(error); ok {
		return namespace.ListPage{}, err
	}
	panic(b.err)
}

// TestPageBreaksOff: a page whose end can't be found, when a part of it is sent, ends the connection. Nobody can
// take it for whole.
func TestPageBreaksOff(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	as := w.door.o.As
	for _, end := range []any{errors.New("damaged"), "a panic"} {
		w.door.o.As = func(p tenancy.Principal) namespace.Objects { return breaking{as(p), end} }
		for _, query := range []string{"", "?list-type=2"} {
			res := w.call(&w.mine, http.MethodGet, "/bucket"+query, "", nil, nil)
			text, err := io.ReadAll(res.Body)
			require.NoError(t, res.Body.Close())
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			require.NotContains(t, string(text), "</ListBucketResult>")
		}
	}
}
