package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// s3Client speaks S3 to the store of the context, with the same access key.
func (a *api) s3Client() (*s3.Client, error) {
	c, err := contextNamed(a.context, os.Getenv)
	if err != nil {
		return nil, err
	}
	if c == nil || c.S3 == "" {
		return nil, usageError{errors.New("object data go by S3: log in with 'k3fs login --s3 URL' first")}
	}
	client, err := c.httpClient()
	if err != nil {
		return nil, err
	}
	return s3.New(s3.Options{BaseEndpoint: aws.String(c.S3), Region: "us-east-1", UsePathStyle: true, HTTPClient: client,
		Credentials: awscredentials.NewStaticCredentialsProvider(c.AccessKey, c.SecretKey, "")}), nil
}

// session asks the store for temporary credentials of the context's account.
func (c *loginContext) session(ctx context.Context, lasts time.Duration) (*types.Credentials, error) {
	if c.S3 == "" {
		return nil, usageError{errors.New("the S3 endpoint gives temporary credentials: log in with 'k3fs login --s3 URL' first")}
	}
	client, err := c.httpClient()
	if err != nil {
		return nil, err
	}
	out, err := sts.New(sts.Options{BaseEndpoint: aws.String(c.S3), Region: "us-east-1", HTTPClient: client,
		Credentials: awscredentials.NewStaticCredentialsProvider(c.AccessKey, c.SecretKey, "")}).
		GetSessionToken(ctx, &sts.GetSessionTokenInput{DurationSeconds: aws.Int32(int32(min(lasts.Seconds(), 1<<30)))})
	if err != nil {
		return nil, err
	}
	return out.Credentials, nil
}

// httpClient trusts whom the context says.
func (c *loginContext) httpClient() (*awshttp.BuildableClient, error) {
	client := awshttp.NewBuildableClient()
	if c.CA != "" {
		raw, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(raw) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", c.CA)
		}
		client = client.WithTransportOptions(func(t *http.Transport) {
			t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
		})
	}
	return client, nil
}

// progress shows how far a transfer is, where somebody looks at a terminal.
func progress(cmd *cobra.Command, name string, size int64) (*mpb.Progress, *mpb.Bar) {
	f, ok := cmd.ErrOrStderr().(*os.File)
	if !ok || !isatty.IsTerminal(f.Fd()) {
		return nil, nil
	}
	p := mpb.New(mpb.WithOutput(f), mpb.WithWidth(40))
	return p, p.AddBar(size, mpb.PrependDecorators(decor.Name(printable(name)+" "), decor.CountersKibiByte("% .1f / % .1f ")),
		mpb.AppendDecorators(decor.AverageSpeed(decor.SizeB1024(0), "% .1f "), decor.AverageETA(decor.ET_STYLE_GO)))
}

// put sends a file, in parts if it is large, and says how far it is.
func (a *api) put(cmd *cobra.Command, from string, to object) error {
	client, err := a.s3Client()
	if err != nil {
		return err
	}
	var in io.Reader = cmd.InOrStdin()
	size := int64(0)
	if from != "-" {
		f, err := os.Open(from)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if info.IsDir() {
			return usageError{fmt.Errorf("%s is a directory", from)}
		}
		in, size = f, info.Size()
	}
	p, bar := progress(cmd, to.key, size)
	if p != nil {
		in = bar.ProxyReader(in)
	}
	_, err = transfermanager.New(client).UploadObject(cmd.Context(), &transfermanager.UploadObjectInput{Bucket: &to.bucket, Key: &to.key, Body: in})
	if p != nil {
		bar.Abort(false)
		p.Wait()
	}
	return err
}

// get receives an object into a file, which appears whole or not at all, or to standard output.
func (a *api) get(cmd *cobra.Command, from object, to, version string) error {
	client, err := a.s3Client()
	if err != nil {
		return err
	}
	in := &s3.GetObjectInput{Bucket: &from.bucket, Key: &from.key}
	if version != "" {
		in.VersionId = &version
	}
	got, err := client.GetObject(cmd.Context(), in)
	if err != nil {
		return err
	}
	defer got.Body.Close()
	var body io.Reader = got.Body
	if to == "-" {
		_, err = io.Copy(cmd.OutOrStdout(), body)
		return err
	}
	p, bar := progress(cmd, from.key, aws.ToInt64(got.ContentLength))
	if p != nil {
		body = bar.ProxyReader(body)
	}
	err = receiveFile(to, body)
	if p != nil {
		bar.Abort(false)
		p.Wait()
	}
	return err
}

func receiveFile(name string, body io.Reader) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".k3fs-get-*")
	if err != nil {
		return err
	}
	_, err = io.Copy(f, body)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// keyFor is a key for a file: the key itself, or, where it names a directory, that file in it.
func keyFor(o object, file string) object {
	if o.key == "" || strings.HasSuffix(o.key, "/") {
		o.key += filepath.Base(file)
	}
	return o
}

func newObjectPut(a *api) *cobra.Command {
	return &cobra.Command{Use: "put FILE BUCKET[/KEY]", Short: "upload a file; - is standard input", Args: exactly(2, "a file, and BUCKET or BUCKET/KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			bucket, key, _ := strings.Cut(strings.TrimPrefix(args[1], "s3://"), "/")
			return a.put(cmd, args[0], keyFor(object{bucket, key}, args[0]))
		}}
}

func newObjectGet(a *api) *cobra.Command {
	version := ""
	cmd := &cobra.Command{Use: "get BUCKET/KEY [FILE]", Short: "download an object; - is standard output", Args: cobra.RangeArgs(1, 2), ValidArgsFunction: a.bucketArgs("/"),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, err := parseObject(args[0])
			if err != nil {
				return err
			}
			to := path.Base(from.key)
			if len(args) == 2 {
				to = args[1]
			}
			if info, err := os.Stat(to); err == nil && info.IsDir() {
				to = filepath.Join(to, path.Base(from.key))
			}
			return a.get(cmd, from, to, version)
		}}
	cmd.Flags().StringVar(&version, "version", "", "this version (default: the current one)")
	return cmd
}

func newObjectCopy(a *api) *cobra.Command {
	return &cobra.Command{Use: "cp FROM TO", Short: "copy an object to another key, or up, or down: s3://BUCKET/KEY is an object, all else a file",
		Args: exactly(2, "from where, and to where"), RunE: func(cmd *cobra.Command, args []string) error {
			from, down := strings.CutPrefix(args[0], "s3://")
			to, up := strings.CutPrefix(args[1], "s3://")
			bucket, key, _ := strings.Cut(to, "/")
			switch {
			case down && up:
				source, err := parseObject(from)
				if err != nil {
					return err
				}
				return a.copy(cmd.Context(), source, keyFor(object{bucket, key}, source.key))
			case up:
				return a.put(cmd, args[0], keyFor(object{bucket, key}, args[0]))
			case down:
				source, err := parseObject(from)
				if err != nil {
					return err
				}
				if info, err := os.Stat(args[1]); err == nil && info.IsDir() {
					args[1] = filepath.Join(args[1], path.Base(source.key))
				}
				return a.get(cmd, source, args[1], "")
			}
			return usageError{errors.New("neither is an object: write s3://BUCKET/KEY")}
		}}
}

// copy copies inside the store, which shares what it can.
func (a *api) copy(ctx context.Context, from, to object) error {
	client, err := a.s3Client()
	if err != nil {
		return err
	}
	source := from.bucket + "/" + (&url.URL{Path: from.key}).EscapedPath()
	_, err = client.CopyObject(ctx, &s3.CopyObjectInput{Bucket: &to.bucket, Key: &to.key, CopySource: &source})
	return err
}
