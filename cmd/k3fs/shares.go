package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"k3fs/daemon/adminapi/adminv1"
)

func newObjectURL(a *api) *cobra.Command {
	var version string
	var seconds int
	var presign bool
	cmd := &cobra.Command{Use: "url BUCKET/KEY", Short: "make a URL by which anybody can download an object for a while", Args: exactly(1, "BUCKET/KEY"), ValidArgsFunction: a.bucketArgs("/"),
		Long: `Make a URL by which anybody can download an object for a while. It is a share link: it does what your account may do
when it is used, 'k3fs object shares' lists it, and 'k3fs object unshare' ends it. With --presign it is one that is signed
by your access key, as S3 has them: nobody lists it, and it ends with the key.`}
	cmd.Flags().IntVar(&seconds, "expires", 3600, "for so many seconds, 86400 at most")
	cmd.Flags().StringVar(&version, "version", "", "of this version (default: what is current then)")
	cmd.Flags().BoolVar(&presign, "presign", false, "sign it by your access key, in place of a share link")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o, err := parseObject(args[0])
		if err != nil {
			return err
		}
		if seconds < 1 || seconds > 86400 {
			return usageError{errors.New("--expires is 1 to 86400 seconds")}
		}
		link := a.share
		if presign {
			link = a.presign
		}
		url, err := link(cmd.Context(), o, version, time.Duration(seconds)*time.Second)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), url)
		return err
	}
	return cmd
}

// share makes a share link.
func (a *api) share(ctx context.Context, o object, version string, life time.Duration) (string, error) {
	s, err := a.connect()
	if err != nil {
		return "", err
	}
	base, err := a.s3URL(ctx, s)
	if err != nil {
		return "", err
	}
	made, err := call(ctx, s.objects.ShareObject, &adminv1.ShareObjectRequest{Bucket: o.bucket, Key: o.key, Version: version, Life: durationpb.New(life)})
	if err != nil {
		return "", err
	}
	return base + made.Link, nil
}

// s3URL is where the store's S3 endpoint is: what the context says, else what the daemon says of itself.
func (a *api) s3URL(ctx context.Context, s *services) (string, error) {
	c, err := contextNamed(a.context, os.Getenv)
	if err != nil {
		return "", err
	}
	if c != nil && c.S3 != "" && a.socket == "" && a.data == "" {
		return strings.TrimSuffix(c.S3, "/"), nil
	}
	who, err := call(ctx, s.accounts.WhoAmI, &adminv1.WhoAmIRequest{})
	if err != nil {
		return "", err
	}
	if who.S3Address == "" {
		return "", errors.New("the store has no S3 endpoint, which a link needs")
	}
	if who.S3Tls {
		return "https://" + who.S3Address, nil
	}
	return "http://" + who.S3Address, nil
}

// presign makes a URL that is signed by the access key of the context.
func (a *api) presign(ctx context.Context, o object, version string, life time.Duration) (string, error) {
	client, err := a.s3Client()
	if err != nil {
		return "", err
	}
	in := &s3.GetObjectInput{Bucket: &o.bucket, Key: &o.key}
	if version != "" {
		in.VersionId = &version
	}
	signed, err := s3.NewPresignClient(client).PresignGetObject(ctx, in, s3.WithPresignExpires(life))
	if err != nil {
		return "", err
	}
	return signed.URL, nil
}

func newObjectShares(a *api) *cobra.Command {
	return a.verb("shares", "list the share links that are not over", noArgs, func(cmd *cobra.Command, s *services, _ []string) error {
		all, err := pages(func(token string) ([]*adminv1.Share, string, error) {
			page, err := call(cmd.Context(), s.objects.ListShares, &adminv1.ListSharesRequest{PageToken: token})
			if err != nil {
				return nil, "", err
			}
			return page.Shares, page.NextPageToken, nil
		})
		if err != nil {
			return err
		}
		return showAll(a, cmd, all, func(w io.Writer) {
			row(w, "ID", "BY", "OBJECT", "VERSION", "CREATED", "EXPIRES")
			for _, one := range all {
				row(w, one.Id, one.Account, one.Bucket+"/"+one.Key, orNone(one.Version), when(one.Created), when(one.Expires))
			}
		})
	})
}

func newObjectUnshare(a *api) *cobra.Command {
	var r adminv1.RevokeShareRequest
	cmd := a.verb("unshare [ID]", "end a share link, or all of the tenant's", cobra.MaximumNArgs(1), func(cmd *cobra.Command, s *services, args []string) error {
		if len(args) == 1 {
			r.Id = args[0]
		}
		if r.All == (r.Id != "") {
			return usageError{errors.New("give the id of a link (see 'k3fs object shares'), or --all")}
		}
		_, err := call(cmd.Context(), s.objects.RevokeShare, &r)
		return err
	})
	cmd.Flags().BoolVar(&r.All, "all", false, "all links of the tenant")
	return cmd
}
