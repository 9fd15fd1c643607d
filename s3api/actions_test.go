package s3api

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the table in docs/s3.md anew")

// actions are all operations of the S3 API ("Actions" in the API reference), with the reason for those that
// are not in the table of routes.
const actions = `AbortMultipartUpload
AppendObject
CompleteMultipartUpload
CopyObject
CreateBucket
CreateBucketMetadataConfiguration: metadata tables are a service of their own
CreateBucketMetadataTableConfiguration: metadata tables are a service of their own
CreateMultipartUpload
CreateSession: directory buckets' own authentication; every bucket here takes plain credentials
DeleteBucket
DeleteBucketAnalyticsConfiguration: analytics
DeleteBucketCors
DeleteBucketEncryption
DeleteBucketIntelligentTieringConfiguration: there is one storage class
DeleteBucketInventoryConfiguration: inventory
DeleteBucketLifecycle
DeleteBucketMetadataConfiguration: metadata tables are a service of their own
DeleteBucketMetadataTableConfiguration: metadata tables are a service of their own
DeleteBucketMetricsConfiguration: CloudWatch; see /metrics
DeleteBucketOwnershipControls
DeleteBucketPolicy
DeleteBucketReplication: replication
DeleteBucketTagging
DeleteBucketWebsite
DeleteObject
DeleteObjectAnnotation: annotations
DeleteObjectTagging
DeleteObjects
DeletePublicAccessBlock
GetBucketAbac: attribute-based access control by bucket tags
GetBucketAccelerateConfiguration
GetBucketAcl
GetBucketAnalyticsConfiguration: analytics
GetBucketCors
GetBucketEncryption
GetBucketIntelligentTieringConfiguration: there is one storage class
GetBucketInventoryConfiguration: inventory
GetBucketLifecycle: the old form of GetBucketLifecycleConfiguration
GetBucketLifecycleConfiguration
GetBucketLocation
GetBucketLogging
GetBucketMetadataConfiguration: metadata tables are a service of their own
GetBucketMetadataTableConfiguration: metadata tables are a service of their own
GetBucketMetricsConfiguration: CloudWatch; see /metrics
GetBucketNotification: the old form of GetBucketNotificationConfiguration
GetBucketNotificationConfiguration: SQS, SNS and Lambda are not here
GetBucketOwnershipControls
GetBucketPolicy
GetBucketPolicyStatus
GetBucketReplication: replication
GetBucketRequestPayment
GetBucketTagging
GetBucketVersioning
GetBucketWebsite
GetObject
GetObjectAcl
GetObjectAnnotation: annotations
GetObjectAttributes
GetObjectLegalHold
GetObjectLockConfiguration
GetObjectRetention
GetObjectTagging
GetObjectTorrent: withdrawn by AWS
GetPublicAccessBlock
HeadBucket
HeadObject
ListBucketAnalyticsConfigurations: analytics
ListBucketIntelligentTieringConfigurations: there is one storage class
ListBucketInventoryConfigurations: inventory
ListBucketMetricsConfigurations: CloudWatch; see /metrics
ListBuckets
ListDirectoryBuckets: there is one kind of bucket
ListMultipartUploads
ListObjectAnnotations: annotations
ListObjectVersions
ListObjects
ListObjectsV2
ListParts
PostObject
PutBucketAbac: attribute-based access control by bucket tags
PutBucketAccelerateConfiguration: there is no second network path
PutBucketAcl
PutBucketAnalyticsConfiguration: analytics
PutBucketCors
PutBucketEncryption
PutBucketIntelligentTieringConfiguration: there is one storage class
PutBucketInventoryConfiguration: inventory
PutBucketLifecycle: the old form of PutBucketLifecycleConfiguration
PutBucketLifecycleConfiguration
PutBucketLogging: the daemon has an access log of its own
PutBucketMetricsConfiguration: CloudWatch; see /metrics
PutBucketNotification: the old form of PutBucketNotificationConfiguration
PutBucketNotificationConfiguration: SQS, SNS and Lambda are not here
PutBucketOwnershipControls
PutBucketPolicy
PutBucketReplication: replication
PutBucketRequestPayment
PutBucketTagging
PutBucketVersioning
PutBucketWebsite
PutObject
PutObjectAcl
PutObjectAnnotation: annotations
PutObjectLegalHold
PutObjectLockConfiguration
PutObjectRetention
PutObjectTagging
PutPublicAccessBlock
RenameObject
RestoreObject: nothing is archived
SelectObjectContent: withdrawn by AWS for new customers
UpdateBucketMetadataAnnotationTableConfiguration: metadata tables are a service of their own
UpdateBucketMetadataInventoryTableConfiguration: metadata tables are a service of their own
UpdateBucketMetadataJournalTableConfiguration: metadata tables are a service of their own
UpdateObjectEncryption: a copy of an object onto itself changes its encryption
UploadPart
UploadPartCopy
WriteGetObjectResponse: Object Lambda`

const (
	tableBegin = "<!-- generated from s3api/routes.go: go generate ./s3api -->\n"
	tableEnd   = "<!-- end -->\n"
)

// actionTable is the table of all actions with their state.
func actionTable(t *testing.T) string {
	byName := map[string]route{}
	for _, r := range routes() {
		byName[r.name] = r
	}
	var b strings.Builder
	b.WriteString("| action | state | request | permission |\n|---|---|---|---|\n")
	done, all := 0, strings.Split(actions, "\n")
	names := map[string]bool{}
	for _, line := range all {
		name, why, _ := strings.Cut(line, ": ")
		names[name] = true
		r, ok := byName[name]
		if !ok {
			if newer, ok := strings.CutPrefix(why, "the old form of "); ok && byName[newer].handle != nil {
				done++
				fmt.Fprintf(&b, "| %s | yes | as %s | |\n", name, newer)
				continue
			}
			if why == "" {
				why = "not yet"
			}
			fmt.Fprintf(&b, "| %s | 501: %s | | |\n", name, why)
			continue
		}
		done++
		path := []string{"/", "/bucket", "/bucket/key"}[r.level]
		if r.sub != "" {
			path += "?" + strings.ReplaceAll(r.sub, " ", "&")
		}
		if r.header != "" {
			path += ", " + strings.ToLower(r.header)
		}
		fmt.Fprintf(&b, "| %s | yes | `%s %s` | `%s` |\n", name, r.method, path, r.action)
	}
	for name := range byName {
		require.True(t, names[name] || strings.HasPrefix(name, "Website") || name == "PreflightCors", "%s is in the table of routes and not among the actions", name)
	}
	fmt.Fprintf(&b, "\n%d of %d actions.\n", done, len(all))
	return b.String()
}

// docs/s3.md says of every action of S3 whether it is there, and can't be wrong.
func TestTheManualListsEveryAction(t *testing.T) {
	require.True(t, slices.IsSorted(strings.Split(actions, "\n")))
	text, err := os.ReadFile("../docs/s3.md")
	require.NoError(t, err)
	head, rest, ok := strings.Cut(string(text), tableBegin)
	require.True(t, ok)
	_, tail, ok := strings.Cut(rest, tableEnd)
	require.True(t, ok)
	want := head + tableBegin + actionTable(t) + tableEnd + tail
	if *update {
		require.NoError(t, os.WriteFile("../docs/s3.md", []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(text), "docs/s3.md is out of date: go generate ./s3api")
}
