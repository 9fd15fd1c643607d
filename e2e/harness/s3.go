package harness

import (
	"context"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Minio returns a client of an S3 endpoint that never retries: what it reports is what the server
// said the one time it was asked.
func Minio(endpoint string) (*minio.Client, error) {
	return minio.New(endpoint, &minio.Options{
		Creds:      credentials.NewStaticV4(AccessKey, SecretKey, ""),
		Region:     Region,
		MaxRetries: 1,
		Transport: &http.Transport{
			MaxIdleConnsPerHost:   64,
			DisableCompression:    true,
			ResponseHeaderTimeout: time.Minute,
		},
	})
}

// Client is Minio for the daemon's endpoint.
func (d *Daemon) Client(t testing.TB) *minio.Client {
	t.Helper()
	c, err := Minio(d.S3)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// MakeBucket makes a bucket through S3.
func (d *Daemon) MakeBucket(t testing.TB, name string) {
	t.Helper()
	if err := d.Client(t).MakeBucket(context.Background(), name, minio.MakeBucketOptions{Region: Region}); err != nil {
		t.Fatalf("make bucket %s: %v", name, err)
	}
}

// ClientEnv is the whole environment by which the aws command, boto3, rclone and the SDKs find the
// daemon. Cloud and proxy settings of the person who runs the tests don't leak in.
func (d *Daemon) ClientEnv() []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		kv = strings.ToUpper(kv)
		return strings.HasPrefix(kv, "AWS_") || strings.HasPrefix(kv, "RCLONE_") || strings.Contains(kv, "_PROXY=")
	})
	return append(env,
		"AWS_ACCESS_KEY_ID="+AccessKey,
		"AWS_SECRET_ACCESS_KEY="+SecretKey,
		"AWS_DEFAULT_REGION="+Region,
		"AWS_REGION="+Region,
		"AWS_ENDPOINT_URL=http://"+d.S3,
		"AWS_CONFIG_FILE=/dev/null",
		"AWS_SHARED_CREDENTIALS_FILE=/dev/null",
		"AWS_EC2_METADATA_DISABLED=true",
		"AWS_MAX_ATTEMPTS=1",
		"AWS_PAGER=",
		"S3_ENDPOINT=http://"+d.S3,
		"RCLONE_CONFIG=",
		"RCLONE_CONFIG_K3_TYPE=s3",
		"RCLONE_CONFIG_K3_PROVIDER=Other",
		"RCLONE_CONFIG_K3_ENV_AUTH=false",
		"RCLONE_CONFIG_K3_ACCESS_KEY_ID="+AccessKey,
		"RCLONE_CONFIG_K3_SECRET_ACCESS_KEY="+SecretKey,
		"RCLONE_CONFIG_K3_REGION="+Region,
		"RCLONE_CONFIG_K3_ENDPOINT=http://"+d.S3,
	)
}
