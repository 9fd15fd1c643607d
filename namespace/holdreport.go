package namespace

import (
	"context"
	"strings"
)

// HoldUse is a hold, and what it holds now.
type HoldUse struct {
	Hold
	Over    bool  // it has ended, and holds nothing
	Objects int64 // versions
	Bytes   int64
}

// reportPage is how many versions are looked at in one view.
const reportPage = 1000

// HoldReport says of each hold of the tenant what it holds. It looks at everything in their scopes, some at a time.
func (v *View) HoldReport(ctx context.Context) ([]HoldUse, error) {
	holds, err := v.Holds(ctx)
	if err != nil {
		return nil, err
	}
	now := stamp(v.fs.trusted())
	uses := make([]HoldUse, len(holds))
	buckets := map[string][]*HoldUse{}
	for i, h := range holds {
		uses[i] = HoldUse{Hold: h, Over: h.Period == 0 && !h.Until.IsZero() && !h.Until.After(now)}
		if uses[i].Over {
			continue
		}
		buckets[h.Bucket] = append(buckets[h.Bucket], &uses[i])
	}
	if len(buckets) == 0 {
		return uses, nil
	}
	all, err := v.ListBuckets(ctx)
	if err != nil {
		return nil, err
	}
	for _, b := range all {
		if scopes := append(buckets[b.Name], buckets[""]...); len(scopes) > 0 {
			if err := v.countHeld(ctx, b, scopes); err != nil {
				return nil, err
			}
		}
	}
	return uses, nil
}

// countHeld adds what is in a bucket to the holds that hold it.
func (v *View) countHeld(ctx context.Context, b BucketInfo, scopes []*HoldUse) error {
	now := stamp(v.fs.trusted())
	o := VersionsOptions{Max: reportPage}
	for {
		page, err := v.ListVersions(ctx, b.Name, o)
		if err != nil {
			return err
		}
		for _, obj := range page.Versions {
			if obj.Marker || isDirName(obj.Key) && obj.Size == 0 {
				continue // no data
			}
			for _, h := range scopes {
				if strings.HasPrefix(obj.Key, h.Prefix) && (h.Period == 0 || obj.LastModified.Add(h.Period).After(now)) {
					h.Objects++
					h.Bytes += obj.Size
				}
			}
		}
		if !page.Truncated {
			return nil
		}
		o.KeyMarker, o.VersionMarker = page.NextKey, page.NextVersion
	}
}
