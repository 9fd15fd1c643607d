package s3api

import (
	"net/http"
	"strings"

	"k3fs/s3api/internal/sigv4"
	"k3fs/tenancy"
)

// level says what a path names.
type level uint8

const (
	service level = iota // "/"
	bucket               // "/bucket"
	object               // "/bucket/key"
)

// route is one line of the table.
type route struct {
	name   string // the S3 API action
	method string
	level  level
	// sub are the query parameters that choose this route, all of which must be there.
	sub string
	// header chooses this route when the request carries it.
	header string
	// params are further query parameters that the handler understands.
	params string
	// action is the permission that the namespace asks for; with several, what the handler does decides.
	action tenancy.Action
	handle func(*request) error
}

// routes is everything that the door can do.
func routes() []route {
	const list = "prefix delimiter encoding-type max-keys"
	const overrides = "response-content-type response-content-language response-expires response-cache-control response-content-disposition response-content-encoding"
	return []route{
		{"ListBuckets", http.MethodGet, service, "", "", "max-buckets prefix continuation-token bucket-region", tenancy.ListAllBuckets, (*request).listBuckets},

		{"CreateBucket", http.MethodPut, bucket, "", "", "", tenancy.CreateBucket, (*request).createBucket},
		{"HeadBucket", http.MethodHead, bucket, "", "", "", tenancy.ListBucket, (*request).headBucket},
		{"DeleteBucket", http.MethodDelete, bucket, "", "", "", tenancy.DeleteBucket, (*request).deleteBucket},
		{"GetBucketLocation", http.MethodGet, bucket, "location", "", "", tenancy.GetBucketLocation, (*request).bucketLocation},
		{"GetBucketPolicy", http.MethodGet, bucket, "policy", "", "", tenancy.GetBucketPolicy, (*request).bucketPolicy},
		{"PutBucketPolicy", http.MethodPut, bucket, "policy", "", "", tenancy.PutBucketPolicy, (*request).putBucketPolicy},
		{"DeleteBucketPolicy", http.MethodDelete, bucket, "policy", "", "", tenancy.DeleteBucketPolicy, deleteSetting(tenancy.SettingPolicy, tenancy.DeleteBucketPolicy)},
		{"GetBucketPolicyStatus", http.MethodGet, bucket, "policyStatus", "", "", tenancy.GetBucketPolicyStatus, (*request).policyStatus},
		{"GetBucketAcl", http.MethodGet, bucket, "acl", "", "", tenancy.GetBucketACL, (*request).bucketACL},
		{"PutBucketAcl", http.MethodPut, bucket, "acl", "", "", tenancy.PutBucketACL, (*request).putBucketACL},
		{"GetBucketOwnershipControls", http.MethodGet, bucket, "ownershipControls", "", "", tenancy.GetBucketOwnership, (*request).ownership},
		{"PutBucketOwnershipControls", http.MethodPut, bucket, "ownershipControls", "", "", tenancy.PutBucketOwnership, (*request).putOwnership},
		{"DeleteBucketOwnershipControls", http.MethodDelete, bucket, "ownershipControls", "", "", tenancy.PutBucketOwnership, (*request).deleteOwnership},
		{"GetPublicAccessBlock", http.MethodGet, bucket, "publicAccessBlock", "", "", tenancy.GetBucketPublicAccess, (*request).publicAccess},
		{"PutPublicAccessBlock", http.MethodPut, bucket, "publicAccessBlock", "", "", tenancy.PutBucketPublicAccess, (*request).putPublicAccess},
		{"DeletePublicAccessBlock", http.MethodDelete, bucket, "publicAccessBlock", "", "", tenancy.PutBucketPublicAccess, deleteSetting(tenancy.SettingPublicAccess, tenancy.PutBucketPublicAccess)},
		{"GetBucketCors", http.MethodGet, bucket, "cors", "", "", tenancy.GetBucketCORS, getDocument(&corsDocument, tenancy.GetBucketCORS)},
		{"PutBucketCors", http.MethodPut, bucket, "cors", "", "", tenancy.PutBucketCORS, putDocument(&corsDocument, tenancy.PutBucketCORS, http.StatusOK)},
		{"DeleteBucketCors", http.MethodDelete, bucket, "cors", "", "", tenancy.PutBucketCORS, deleteSetting(settingCORS, tenancy.PutBucketCORS)},
		{"GetBucketTagging", http.MethodGet, bucket, "tagging", "", "", tenancy.GetBucketTagging, getDocument(&taggingDocument, tenancy.GetBucketTagging)},
		{"PutBucketTagging", http.MethodPut, bucket, "tagging", "", "", tenancy.PutBucketTagging, putDocument(&taggingDocument, tenancy.PutBucketTagging, http.StatusNoContent)},
		{"DeleteBucketTagging", http.MethodDelete, bucket, "tagging", "", "", tenancy.PutBucketTagging, deleteSetting(settingTagging, tenancy.PutBucketTagging)},
		{"GetBucketEncryption", http.MethodGet, bucket, "encryption", "", "", tenancy.GetEncryption, (*request).bucketEncryption},
		{"PutBucketEncryption", http.MethodPut, bucket, "encryption", "", "", tenancy.PutEncryption, putDocument(&encryptionDocument, tenancy.PutEncryption, http.StatusOK)},
		{"DeleteBucketEncryption", http.MethodDelete, bucket, "encryption", "", "", tenancy.PutEncryption, deleteSetting(settingEncryption, tenancy.PutEncryption)},
		{"GetBucketWebsite", http.MethodGet, bucket, "website", "", "", tenancy.GetBucketWebsite, getDocument(&websiteDocument, tenancy.GetBucketWebsite)},
		{"PutBucketWebsite", http.MethodPut, bucket, "website", "", "", tenancy.PutBucketWebsite, putDocument(&websiteDocument, tenancy.PutBucketWebsite, http.StatusOK)},
		{"DeleteBucketWebsite", http.MethodDelete, bucket, "website", "", "", tenancy.DeleteBucketWebsite, deleteSetting(settingWebsite, tenancy.DeleteBucketWebsite)},
		{"GetBucketLifecycleConfiguration", http.MethodGet, bucket, "lifecycle", "", "", tenancy.GetLifecycle, getDocument(&lifecycleDocument, tenancy.GetLifecycle)},
		{"PutBucketLifecycleConfiguration", http.MethodPut, bucket, "lifecycle", "", "", tenancy.PutLifecycle, putDocument(&lifecycleDocument, tenancy.PutLifecycle, http.StatusOK)},
		{"DeleteBucketLifecycle", http.MethodDelete, bucket, "lifecycle", "", "", tenancy.PutLifecycle, deleteSetting(settingLifecycle, tenancy.PutLifecycle)},
		{"GetBucketRequestPayment", http.MethodGet, bucket, "requestPayment", "", "", tenancy.GetBucketRequestPay, answerDefault(`<RequestPaymentConfiguration xmlns="`+xmlns+`"><Payer>BucketOwner</Payer></RequestPaymentConfiguration>`, tenancy.GetBucketRequestPay)},
		{"PutBucketRequestPayment", http.MethodPut, bucket, "requestPayment", "", "", tenancy.PutBucketRequestPay, (*request).putRequestPayment},
		{"GetBucketAccelerateConfiguration", http.MethodGet, bucket, "accelerate", "", "", tenancy.GetBucketAcceleration, answerDefault(`<AccelerateConfiguration xmlns="`+xmlns+`"/>`, tenancy.GetBucketAcceleration)},
		{"GetBucketLogging", http.MethodGet, bucket, "logging", "", "", tenancy.GetBucketLogging, answerDefault(`<BucketLoggingStatus xmlns="`+xmlns+`"/>`, tenancy.GetBucketLogging)},
		{"GetBucketNotificationConfiguration", http.MethodGet, bucket, "notification", "", "", tenancy.GetBucketNotifications, answerDefault(`<NotificationConfiguration xmlns="`+xmlns+`"/>`, tenancy.GetBucketNotifications)},
		{"GetObjectLockConfiguration", http.MethodGet, bucket, "object-lock", "", "", tenancy.GetBucketObjectLock, (*request).lockConfiguration},
		{"PutObjectLockConfiguration", http.MethodPut, bucket, "object-lock", "", "", tenancy.PutBucketObjectLock, (*request).putLockConfiguration},
		{"GetBucketVersioning", http.MethodGet, bucket, "versioning", "", "", tenancy.GetBucketVersioning, (*request).bucketVersioning},
		{"PutBucketVersioning", http.MethodPut, bucket, "versioning", "", "", tenancy.PutBucketVersioning, (*request).putBucketVersioning},
		{"ListObjects", http.MethodGet, bucket, "", "", list + " marker", tenancy.ListBucket, (*request).listObjectsV1},
		{"ListObjectsV2", http.MethodGet, bucket, "list-type", "", list + " start-after continuation-token fetch-owner", tenancy.ListBucket, (*request).listObjectsV2},
		{"ListObjectVersions", http.MethodGet, bucket, "versions", "", list + " key-marker version-id-marker", tenancy.ListBucketVersions, (*request).listVersions},
		{"ListMultipartUploads", http.MethodGet, bucket, "uploads", "", "prefix delimiter encoding-type max-uploads key-marker upload-id-marker", tenancy.ListBucketUploads, (*request).listUploads},
		{"DeleteObjects", http.MethodPost, bucket, "delete", "", "", tenancy.DeleteObject, (*request).deleteObjects},

		{"PostObject", http.MethodPost, bucket, "", "", "", tenancy.PutObject, (*request).postObject},

		{"GetObject", http.MethodGet, object, "", "", overrides + " partNumber versionId", tenancy.GetObject, (*request).getObject},
		{"HeadObject", http.MethodHead, object, "", "", overrides + " partNumber versionId", tenancy.GetObject, (*request).headObject},
		{"GetObjectAttributes", http.MethodGet, object, "attributes", "", "versionId", tenancy.GetObjectAttributes, (*request).objectAttributes},
		{"GetObjectRetention", http.MethodGet, object, "retention", "", "versionId", tenancy.GetObjectRetention, (*request).getRetention},
		{"PutObjectRetention", http.MethodPut, object, "retention", "", "versionId", tenancy.PutObjectRetention, (*request).putRetention},
		{"GetObjectLegalHold", http.MethodGet, object, "legal-hold", "", "versionId", tenancy.GetObjectLegalHold, (*request).getLegalHold},
		{"PutObjectLegalHold", http.MethodPut, object, "legal-hold", "", "versionId", tenancy.PutObjectLegalHold, (*request).putLegalHold},
		{"GetObjectTagging", http.MethodGet, object, "tagging", "", "versionId", tenancy.GetObjectTagging, (*request).getObjectTagging},
		{"PutObjectTagging", http.MethodPut, object, "tagging", "", "versionId", tenancy.PutObjectTagging, (*request).putObjectTagging},
		{"DeleteObjectTagging", http.MethodDelete, object, "tagging", "", "versionId", tenancy.DeleteObjectTagging, (*request).deleteObjectTagging},
		{"AppendObject", http.MethodPut, object, "", writeOffset, "", tenancy.PutObject, (*request).appendObject},
		{"RenameObject", http.MethodPut, object, "renameObject", renameSource, "", tenancy.PutObject, (*request).renameObject},
		{"GetObjectAcl", http.MethodGet, object, "acl", "", "versionId", tenancy.GetObjectACL, (*request).objectACL},
		{"PutObjectAcl", http.MethodPut, object, "acl", "", "versionId", tenancy.PutObjectACL, (*request).putObjectACL},
		{"PutObject", http.MethodPut, object, "", "", "", tenancy.PutObject, (*request).putObject},
		{"CopyObject", http.MethodPut, object, "", copySource, "", tenancy.PutObject, (*request).copyObject},
		{"DeleteObject", http.MethodDelete, object, "", "", "versionId", tenancy.DeleteObject, (*request).deleteObject},

		{"CreateMultipartUpload", http.MethodPost, object, "uploads", "", "", tenancy.PutObject, (*request).createUpload},
		{"UploadPart", http.MethodPut, object, "partNumber uploadId", "", "", tenancy.PutObject, (*request).putPart},
		{"UploadPartCopy", http.MethodPut, object, "partNumber uploadId", copySource, "", tenancy.PutObject, (*request).copyPart},
		{"CompleteMultipartUpload", http.MethodPost, object, "uploadId", "", "", tenancy.PutObject, (*request).completeUpload},
		{"AbortMultipartUpload", http.MethodDelete, object, "uploadId", "", "", tenancy.AbortUpload, (*request).abortUpload},
		{"ListParts", http.MethodGet, object, "uploadId", "", "max-parts part-number-marker encoding-type", tenancy.ListUploadParts, (*request).listParts},
	}
}

// The headers that choose a route.
const (
	copySource   = "X-Amz-Copy-Source"
	writeOffset  = "X-Amz-Write-Offset-Bytes"
	renameSource = "X-Amz-Rename-Source"
)

// subresources are the query parameters that S3 knows to change what a request means. One that the chosen
// route does not understand is answered 501 whatever its value.
const subresources = "accelerate acl analytics annotation append attributes compose cors delete encryption " +
	"fetch intelligent-tiering inventory legal-hold lifecycle list-type location logging metadata metadataConfiguration metadataTable " +
	"metadataInventoryTable metadataJournalTable metrics notification object-lock ownershipControls partNumber policy policyStatus " +
	"publicAccessBlock rename renameObject replication requestPayment restore retention select select-type session " +
	"tagging torrent uploadId uploads versionId versioning versions website"

// routeIndex finds routes.
type routeIndex struct {
	routes map[string][]indexed // by method and level; the most particular first
	known  map[string]bool      // subresources
}

type indexed struct {
	route
	sub    []string
	params map[string]bool
}

func indexRoutes(all []route) routeIndex {
	x := routeIndex{routes: map[string][]indexed{}, known: map[string]bool{}}
	for _, name := range strings.Fields(subresources) {
		x.known[name] = true
	}
	for _, r := range all {
		i := indexed{route: r, sub: strings.Fields(r.sub), params: map[string]bool{}}
		for _, name := range strings.Fields(r.params + " " + r.sub) {
			i.params[name] = true
		}
		k := r.method + string('0'+rune(r.level))
		at := len(x.routes[k])
		for j, other := range x.routes[k] {
			if len(i.sub) > len(other.sub) || len(i.sub) == len(other.sub) && i.header != "" && other.header == "" {
				at = j
				break
			}
		}
		x.routes[k] = append(x.routes[k][:at], append([]indexed{i}, x.routes[k][at:]...)...)
	}
	return x
}

// find chooses the route of a request, and refuses what that route does not understand.
func (x *routeIndex) find(q *request) (*route, error) {
	at := service
	switch {
	case q.key != "":
		at = object
	case q.bucket != "":
		at = bucket
	}
	if q.bucket == "" && q.key != "" {
		return nil, notImplemented("The path names no bucket.")
	}
	candidates := x.routes[q.r.Method+string('0'+rune(at))]
	for i := range candidates {
		if c := &candidates[i]; c.matches(q) {
			if err := x.checkParams(c, q); err != nil {
				return nil, err
			}
			return &c.route, nil
		}
	}
	return nil, notImplemented("The method or sub-resource you asked for is not implemented.")
}

func (i *indexed) matches(q *request) bool {
	if i.header != "" && len(q.r.Header.Values(i.header)) == 0 { // an empty copy source is none to write from
		return false
	}
	for _, name := range i.sub {
		if !q.query.Has(name) {
			return false
		}
	}
	return true
}

// checkParams refuses parameters that would change what the request means: every known sub-resource and
// every parameter without a value that the route does not take, and on requests that change something
// every unknown parameter at all.
func (x *routeIndex) checkParams(i *indexed, q *request) error {
	reads := q.r.Method == http.MethodGet || q.r.Method == http.MethodHead
	for name, values := range q.query {
		if i.params[name] || ofSignature(name) || q.byV2(name) {
			continue
		}
		if reads && !x.known[name] && values[0] != "" {
			continue
		}
		return notImplemented("The query parameter %q is not implemented.", printable(name))
	}
	return nil
}

// ofSignature tells the parameters of a presigned URL, and the one by which SDKs name the operation.
func ofSignature(name string) bool {
	return name == "x-id" || len(name) > 6 && strings.EqualFold(name[:6], "x-amz-")
}

// byV2 tells the parameters of a URL that is presigned by version 2.
func (q *request) byV2(name string) bool {
	return q.identity != nil && q.identity.Mechanism == sigv4.PresignedV2 && (name == "AWSAccessKeyId" || name == "Expires" || name == "Signature")
}
