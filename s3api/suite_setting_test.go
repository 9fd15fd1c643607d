package s3api

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
)

// setting is how a bucket's document is put, read and deleted; each returns the error alone.
type setting struct {
	put, get, del func(client *s3.Client, c *caller) error
	// says wants what get answers once it is put.
	says func(c *caller)
	// missing is the code where there is none; "" where there is a default.
	missing string
	// visible is that others may know of the bucket once it is put.
	visible bool
	// sub is the sub-resource, and bad are documents that are refused with 400, and their codes.
	sub string
	bad map[string]string
}

func (s setting) cases(put, get, del string) map[string]conform {
	all := map[string]conform{
		put: {func(c *caller) {
			require.NoError(c.t, s.put(c.Client, c))
			s.says(c)
		}, func(c *caller) {
			for doc, code := range s.bad {
				c.refuse(400, code, "PUT", "/"+*c.bucket+"?"+s.sub, doc, nil)
			}
			c.hidden(func(client *s3.Client) error { return s.put(client, c) })
			if s.missing != "" {
				c.refused(404, s.missing, s.get(c.Client, c))
			}
		}},
		get: {func(c *caller) {
			if s.missing == "" {
				require.NoError(c.t, s.get(c.Client, c))
			}
			require.NoError(c.t, s.put(c.Client, c))
			s.says(c)
		}, func(c *caller) {
			if s.missing != "" {
				c.refused(404, s.missing, s.get(c.Client, c))
			}
			c.hidden(func(client *s3.Client) error { return s.get(client, c) })
		}},
	}
	if del != "" {
		all[del] = conform{func(c *caller) {
			require.NoError(c.t, s.put(c.Client, c))
			require.NoError(c.t, s.del(c.Client, c))
			if s.missing != "" {
				c.refused(404, s.missing, s.get(c.Client, c))
			}
			require.NoError(c.t, s.del(c.Client, c), "there is none")
		}, func(c *caller) {
			require.NoError(c.t, s.put(c.Client, c))
			if s.visible {
				c.refused(403, "AccessDenied", s.del(c.them, c))
				c.refused(403, "AccessDenied", s.del(c.nobody, c))
			} else {
				c.hidden(func(client *s3.Client) error { return s.del(client, c) })
			}
			s.says(c)
		}}
	}
	return all
}

// settingCases are those of a bucket's documents.
var settingCases = merged(
	setting{
		put: func(client *s3.Client, c *caller) error {
			_, err := client.PutBucketPolicy(c.ctx, &s3.PutBucketPolicyInput{Bucket: c.bucket, Policy: aws.String(c.policy("Allow", "s3:GetObject"))})
			return err
		},
		get: func(client *s3.Client, c *caller) error {
			_, err := client.GetBucketPolicy(c.ctx, &s3.GetBucketPolicyInput{Bucket: c.bucket})
			return err
		},
		del: func(client *s3.Client, c *caller) error {
			_, err := client.DeleteBucketPolicy(c.ctx, &s3.DeleteBucketPolicyInput{Bucket: c.bucket})
			return err
		},
		says: func(c *caller) {
			require.Equal(c.t, c.policy("Allow", "s3:GetObject"), *must(c.GetBucketPolicy(c.ctx, &s3.GetBucketPolicyInput{Bucket: c.bucket}))(c).Policy)
		},
		missing: "NoSuchBucketPolicy", visible: true, sub: "policy",
		bad: map[string]string{"": "MissingRequestBodyError", "{": "MalformedPolicy", `{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::another/*"}}`: "MalformedPolicy"},
	}.cases("PutBucketPolicy", "GetBucketPolicy", "DeleteBucketPolicy"),
	map[string]conform{"GetBucketPolicyStatus": {func(c *caller) {
		for effect, public := range map[string]bool{"Allow": true, "Deny": false} {
			must(c.PutBucketPolicy(c.ctx, &s3.PutBucketPolicyInput{Bucket: c.bucket, Policy: aws.String(c.policy(effect, "s3:GetObject"))}))(c)
			require.Equal(c.t, public, *must(c.GetBucketPolicyStatus(c.ctx, &s3.GetBucketPolicyStatusInput{Bucket: c.bucket}))(c).PolicyStatus.IsPublic)
		}
	}, func(c *caller) {
		c.hidden(func(client *s3.Client) error {
			_, err := client.GetBucketPolicyStatus(c.ctx, &s3.GetBucketPolicyStatusInput{Bucket: c.bucket})
			return err
		})
	}}},
	setting{
		put: func(client *s3.Client, c *caller) error {
			_, err := client.PutBucketOwnershipControls(c.ctx, &s3.PutBucketOwnershipControlsInput{Bucket: c.bucket, OwnershipControls: &types.OwnershipControls{
				Rules: []types.OwnershipControlsRule{{ObjectOwnership: types.ObjectOwnershipBucketOwnerPreferred}}}})
			return err
		},
		get: func(client *s3.Client, c *caller) error {
			_, err := client.GetBucketOwnershipControls(c.ctx, &s3.GetBucketOwnershipControlsInput{Bucket: c.bucket})
			return err
		},
		del: func(client *s3.Client, c *caller) error {
			_, err := client.DeleteBucketOwnershipControls(c.ctx, &s3.DeleteBucketOwnershipControlsInput{Bucket: c.bucket})
			return err
		},
		says: func(c *caller) {
			out := must(c.GetBucketOwnershipControls(c.ctx, &s3.GetBucketOwnershipControlsInput{Bucket: c.bucket}))(c)
			require.Equal(c.t, types.ObjectOwnershipBucketOwnerPreferred, out.OwnershipControls.Rules[0].ObjectOwnership)
		},
		visible: true, sub: "ownershipControls", bad: map[string]string{"": "MalformedXML", "<OwnershipControls/>": "MalformedXML"},
	}.cases("PutBucketOwnershipControls", "GetBucketOwnershipControls", "DeleteBucketOwnershipControls"),
	setting{
		put: func(client *s3.Client, c *caller) error {
			_, err := client.PutPublicAccessBlock(c.ctx, &s3.PutPublicAccessBlockInput{Bucket: c.bucket, PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
				BlockPublicAcls: aws.Bool(true), BlockPublicPolicy: aws.Bool(true), IgnorePublicAcls: aws.Bool(true), RestrictPublicBuckets: aws.Bool(true)}})
			return err
		},
		get: func(client *s3.Client, c *caller) error {
			_, err := client.GetPublicAccessBlock(c.ctx, &s3.GetPublicAccessBlockInput{Bucket: c.bucket})
			return err
		},
		del: func(client *s3.Client, c *caller) error {
			_, err := client.DeletePublicAccessBlock(c.ctx, &s3.DeletePublicAccessBlockInput{Bucket: c.bucket})
			return err
		},
		says: func(c *caller) {
			b := must(c.GetPublicAccessBlock(c.ctx, &s3.GetPublicAccessBlockInput{Bucket: c.bucket}))(c).PublicAccessBlockConfiguration
			require.True(c.t, *b.BlockPublicAcls && *b.BlockPublicPolicy && *b.IgnorePublicAcls && *b.RestrictPublicBuckets)
			_, err := c.PutBucketPolicy(c.ctx, &s3.PutBucketPolicyInput{Bucket: c.bucket, Policy: aws.String(c.policy("Allow", "s3:GetObject"))})
			c.refused(403, "AccessDenied", err)
		},
		missing: "NoSuchPublicAccessBlockConfiguration", sub: "publicAccessBlock", bad: map[string]string{"": "MalformedXML", "<x/>": "MalformedXML"},
	}.cases("PutPublicAccessBlock", "GetPublicAccessBlock", "DeletePublicAccessBlock"),
	setting{
		put: func(client *s3.Client, c *caller) error {
			_, err := client.PutBucketCors(c.ctx, &s3.PutBucketCorsInput{Bucket: c.bucket, CORSConfiguration: &types.CORSConfiguration{CORSRules: []types.CORSRule{{ID: aws.String("r"),
				AllowedOrigins: []string{"https://*.example.com"}, AllowedMethods: []string{"GET", "PUT"}, AllowedHeaders: []string{"x-amz-*"}, ExposeHeaders: []string{"ETag"}, MaxAgeSeconds: aws.Int32(60)}}}})
			return err
		},
		get: func(client *s3.Client, c *caller) error {
			_, err := client.GetBucketCors(c.ctx, &s3.GetBucketCorsInput{Bucket: c.bucket})
			return err
		},
		del: func(client *s3.Client, c *caller) error {
			_, err := client.DeleteBucketCors(c.ctx, &s3.DeleteBucketCorsInput{Bucket: c.bucket})
			return err
		},
		says: func(c *caller) {
			r := must(c.GetBucketCors(c.ctx, &s3.GetBucketCorsInput{Bucket: c.bucket}))(c).CORSRules[0]
			require.Equal(c.t, []any{"r", []string{"https://*.example.com"}, []string{"GET", "PUT"}, int32(60)}, []any{*r.ID, r.AllowedOrigins, r.AllowedMethods, *r.MaxAgeSeconds})
		},
		missing: "NoSuchCORSConfiguration", sub: "cors", bad: map[string]string{"": "MissingRequestBodyError", "<CORSConfiguration/>": "MalformedXML",
			"<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>FLY</AllowedMethod></CORSRule></CORSConfiguration>": "InvalidRequest"},
	}.cases("PutBucketCors", "GetBucketCors", "DeleteBucketCors"),
	setting{
		put: func(client *s3.Client, c *caller) error {
			_, err := client.PutBucketTagging(c.ctx, &s3.PutBucketTaggingInput{Bucket: c.bucket, Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("team"), Value: aws.String("ü 1")}}}})
			return err
		},
		get: func(client *s3.Client, c *caller) error {
			_, err := client.GetBucketTagging(c.ctx, &s3.GetBucketTaggingInput{Bucket: c.bucket})
			return err
		},
		del: func(client *s3.Client, c *caller) error {
			_, err := client.DeleteBucketTagging(c.ctx, &s3.DeleteBucketTaggingInput{Bucket: c.bucket})
			return err
		},
		says: func(c *caller) {
			tags := must(c.GetBucketTagging(c.ctx, &s3.GetBucketTaggingInput{Bucket: c.bucket}))(c).TagSet
			require.Equal(c.t, []string{"team", "ü 1"}, []string{*tags[0].Key, *tags[0].Value})
		},
		missing: "NoSuchTagSet", sub: "tagging", bad: map[string]string{"<Tagging><TagSet><Tag><Key>aws:x</Key><Value/></Tag></TagSet></Tagging>": "InvalidTag",
			"<Tagging><TagSet>" + strings.Repeat("<Tag><Key>a</Key><Value/></Tag>", 2) + "</TagSet></Tagging>": "InvalidTag"},
	}.cases("PutBucketTagging", "GetBucketTagging", "DeleteBucketTagging"),
	setting{
		put: func(client *s3.Client, c *caller) error {
			_, err := client.PutBucketEncryption(c.ctx, &s3.PutBucketEncryptionInput{Bucket: c.bucket, ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{
				Rules: []types.ServerSideEncryptionRule{{ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAwsKms, KMSMasterKeyID: aws.String("mine")}}}}})
			return err
		},
		get: func(client *s3.Client, c *caller) error {
			_, err := client.GetBucketEncryption(c.ctx, &s3.GetBucketEncryptionInput{Bucket: c.bucket})
			return err
		},
		del: func(client *s3.Client, c *caller) error {
			_, err := client.DeleteBucketEncryption(c.ctx, &s3.DeleteBucketEncryptionInput{Bucket: c.bucket})
			return err
		},
		says: func(c *caller) {
			d := must(c.GetBucketEncryption(c.ctx, &s3.GetBucketEncryptionInput{Bucket: c.bucket}))(c).ServerSideEncryptionConfiguration.Rules[0].ApplyServerSideEncryptionByDefault
			require.Equal(c.t, []string{"aws:kms", "mine"}, []string{string(d.SSEAlgorithm), *d.KMSMasterKeyID})
			put := must(c.PutObject(c.ctx, &s3.PutObjectInput{Bucket: c.bucket, Key: aws.String("k")}))(c)
			require.Equal(c.t, "mine", *put.SSEKMSKeyId)
		},
		sub: "encryption", bad: map[string]string{"<ServerSideEncryptionConfiguration/>": "MalformedXML",
			"<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>theirs</KMSMasterKeyID></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>": "KMS.NotFoundException"},
	}.cases("PutBucketEncryption", "GetBucketEncryption", "DeleteBucketEncryption"),
	setting{
		put: func(client *s3.Client, c *caller) error {
			_, err := client.PutBucketWebsite(c.ctx, &s3.PutBucketWebsiteInput{Bucket: c.bucket, WebsiteConfiguration: &types.WebsiteConfiguration{
				IndexDocument: &types.IndexDocument{Suffix: aws.String("index.html")}, ErrorDocument: &types.ErrorDocument{Key: aws.String("404.html")}}})
			return err
		},
		get: func(client *s3.Client, c *caller) error {
			_, err := client.GetBucketWebsite(c.ctx, &s3.GetBucketWebsiteInput{Bucket: c.bucket})
			return err
		},
		del: func(client *s3.Client, c *caller) error {
			_, err := client.DeleteBucketWebsite(c.ctx, &s3.DeleteBucketWebsiteInput{Bucket: c.bucket})
			return err
		},
		says: func(c *caller) {
			out := must(c.GetBucketWebsite(c.ctx, &s3.GetBucketWebsiteInput{Bucket: c.bucket}))(c)
			require.Equal(c.t, []string{"index.html", "404.html"}, []string{*out.IndexDocument.Suffix, *out.ErrorDocument.Key})
		},
		missing: "NoSuchWebsiteConfiguration", sub: "website", bad: map[string]string{"<WebsiteConfiguration/>": "InvalidArgument"},
	}.cases("PutBucketWebsite", "GetBucketWebsite", "DeleteBucketWebsite"),
	setting{
		put: func(client *s3.Client, c *caller) error {
			_, err := client.PutBucketLifecycleConfiguration(c.ctx, &s3.PutBucketLifecycleConfigurationInput{Bucket: c.bucket, LifecycleConfiguration: &types.BucketLifecycleConfiguration{
				Rules: []types.LifecycleRule{{ID: aws.String("logs"), Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{Prefix: aws.String("log/")}, Expiration: &types.LifecycleExpiration{Days: aws.Int32(3)}}}}})
			return err
		},
		get: func(client *s3.Client, c *caller) error {
			_, err := client.GetBucketLifecycleConfiguration(c.ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: c.bucket})
			return err
		},
		del: func(client *s3.Client, c *caller) error {
			_, err := client.DeleteBucketLifecycle(c.ctx, &s3.DeleteBucketLifecycleInput{Bucket: c.bucket})
			return err
		},
		says: func(c *caller) {
			r := must(c.GetBucketLifecycleConfiguration(c.ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: c.bucket}))(c).Rules[0]
			require.Equal(c.t, []any{"logs", "log/", int32(3)}, []any{*r.ID, *r.Filter.Prefix, *r.Expiration.Days})
			put := must(c.PutObject(c.ctx, &s3.PutObjectInput{Bucket: c.bucket, Key: aws.String("log/1")}))(c)
			require.Contains(c.t, *put.Expiration, `rule-id="logs"`)
		},
		missing: "NoSuchLifecycleConfiguration", sub: "lifecycle", bad: map[string]string{"<LifecycleConfiguration/>": "MalformedXML",
			"<LifecycleConfiguration><Rule><Filter/><Status>Enabled</Status><Expiration><Days>0</Days></Expiration></Rule></LifecycleConfiguration>": "InvalidArgument"},
	}.cases("PutBucketLifecycleConfiguration", "GetBucketLifecycleConfiguration", "DeleteBucketLifecycle"),
	setting{
		put: func(client *s3.Client, c *caller) error {
			_, err := client.PutBucketVersioning(c.ctx, &s3.PutBucketVersioningInput{Bucket: c.bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
			return err
		},
		get: func(client *s3.Client, c *caller) error {
			_, err := client.GetBucketVersioning(c.ctx, &s3.GetBucketVersioningInput{Bucket: c.bucket})
			return err
		},
		says: func(c *caller) {
			require.Equal(c.t, types.BucketVersioningStatusEnabled, must(c.GetBucketVersioning(c.ctx, &s3.GetBucketVersioningInput{Bucket: c.bucket}))(c).Status)
			require.NotEmpty(c.t, *must(c.PutObject(c.ctx, &s3.PutObjectInput{Bucket: c.bucket, Key: aws.String("k")}))(c).VersionId)
		},
		sub: "versioning", bad: map[string]string{"": "IllegalVersioningConfigurationException", "<VersioningConfiguration><Status>On</Status></VersioningConfiguration>": "MalformedXML"},
	}.cases("PutBucketVersioning", "GetBucketVersioning", ""),
	setting{
		put: func(client *s3.Client, c *caller) error {
			_, err := client.PutBucketRequestPayment(c.ctx, &s3.PutBucketRequestPaymentInput{Bucket: c.bucket, RequestPaymentConfiguration: &types.RequestPaymentConfiguration{Payer: types.PayerBucketOwner}})
			return err
		},
		get: func(client *s3.Client, c *caller) error {
			_, err := client.GetBucketRequestPayment(c.ctx, &s3.GetBucketRequestPaymentInput{Bucket: c.bucket})
			return err
		},
		says: func(c *caller) {
			require.Equal(c.t, types.PayerBucketOwner, must(c.GetBucketRequestPayment(c.ctx, &s3.GetBucketRequestPaymentInput{Bucket: c.bucket}))(c).Payer)
			_, err := c.PutBucketRequestPayment(c.ctx, &s3.PutBucketRequestPaymentInput{Bucket: c.bucket, RequestPaymentConfiguration: &types.RequestPaymentConfiguration{Payer: types.PayerRequester}})
			c.refused(501, "NotImplemented", err)
		},
		sub: "requestPayment", bad: map[string]string{"": "MalformedXML"},
	}.cases("PutBucketRequestPayment", "GetBucketRequestPayment", ""),
	setting{
		put: func(client *s3.Client, c *caller) error {
			if client == c.Client {
				must(c.PutBucketOwnershipControls(c.ctx, &s3.PutBucketOwnershipControlsInput{Bucket: c.bucket, OwnershipControls: &types.OwnershipControls{
					Rules: []types.OwnershipControlsRule{{ObjectOwnership: types.ObjectOwnershipObjectWriter}}}}))(c)
			}
			_, err := client.PutBucketAcl(c.ctx, &s3.PutBucketAclInput{Bucket: c.bucket, GrantRead: aws.String(`id="` + c.theirs.Canonical() + `"`), GrantFullControl: aws.String(`id="` + mine.Canonical() + `"`)})
			return err
		},
		get: func(client *s3.Client, c *caller) error {
			_, err := client.GetBucketAcl(c.ctx, &s3.GetBucketAclInput{Bucket: c.bucket})
			return err
		},
		says: func(c *caller) {
			out := must(c.GetBucketAcl(c.ctx, &s3.GetBucketAclInput{Bucket: c.bucket}))(c)
			require.Len(c.t, out.Grants, 2)
			must(c.PutBucketAcl(c.ctx, &s3.PutBucketAclInput{Bucket: c.bucket, AccessControlPolicy: &types.AccessControlPolicy{Owner: out.Owner, Grants: out.Grants}}))(c)
			must(c.them.ListObjectsV2(c.ctx, &s3.ListObjectsV2Input{Bucket: c.bucket}))(c)
			must(c.PutBucketAcl(c.ctx, &s3.PutBucketAclInput{Bucket: c.bucket, ACL: types.BucketCannedACLPrivate}))(c)
			_, err := c.them.ListObjectsV2(c.ctx, &s3.ListObjectsV2Input{Bucket: c.bucket})
			c.refused(403, "AccessDenied", err)
		},
		sub: "acl", bad: map[string]string{"<AccessControlPolicy/>": "AccessControlListNotSupported"},
	}.cases("PutBucketAcl", "GetBucketAcl", ""),
	map[string]conform{
		"GetBucketAccelerateConfiguration": {func(c *caller) {
			require.Empty(c.t, must(c.GetBucketAccelerateConfiguration(c.ctx, &s3.GetBucketAccelerateConfigurationInput{Bucket: c.bucket}))(c).Status)
		}, func(c *caller) {
			_, err := c.them.GetBucketAccelerateConfiguration(c.ctx, &s3.GetBucketAccelerateConfigurationInput{Bucket: c.bucket})
			c.refused(404, "NoSuchBucket", err)
		}},
		"GetBucketLogging": {func(c *caller) {
			require.Nil(c.t, must(c.GetBucketLogging(c.ctx, &s3.GetBucketLoggingInput{Bucket: c.bucket}))(c).LoggingEnabled)
		}, func(c *caller) {
			_, err := c.them.GetBucketLogging(c.ctx, &s3.GetBucketLoggingInput{Bucket: c.bucket})
			c.refused(404, "NoSuchBucket", err)
		}},
		"GetBucketNotificationConfiguration": {func(c *caller) {
			require.Empty(c.t, must(c.GetBucketNotificationConfiguration(c.ctx, &s3.GetBucketNotificationConfigurationInput{Bucket: c.bucket}))(c).QueueConfigurations)
		}, func(c *caller) {
			_, err := c.nobody.GetBucketNotificationConfiguration(c.ctx, &s3.GetBucketNotificationConfigurationInput{Bucket: c.bucket})
			c.refused(403, "AccessDenied", err)
		}},
	},
)

// policy is one of one statement, on the bucket's objects, for everyone.
func (c *caller) policy(effect, action string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"` + effect + `","Principal":"*","Action":"` + action + `","Resource":"arn:aws:s3:::` + *c.bucket + `/*"}]}`
}

func merged(tables ...map[string]conform) map[string]conform {
	all := map[string]conform{}
	for _, table := range tables {
		for name, c := range table {
			all[name] = c
		}
	}
	return all
}
