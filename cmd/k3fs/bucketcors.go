package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"k3fs/daemon/adminapi/adminv1"
)

// corsDocument is a CORS configuration as the aws command reads and writes it.
type corsDocument struct {
	CORSRules []corsRule
}

type corsRule struct {
	ID             string `json:",omitempty"`
	AllowedOrigins []string
	AllowedMethods []string
	AllowedHeaders []string `json:",omitempty"`
	ExposeHeaders  []string `json:",omitempty"`
	MaxAgeSeconds  *int32   `json:",omitempty"`
}

func newBucketCORS(a *api) *cobra.Command {
	one := exactly(1, "the name of a bucket")
	return group("cors", "which pages of other origins may make requests to a bucket", "",
		a.verb("get NAME", "print a bucket's CORS configuration, as the aws command has it", one, func(cmd *cobra.Command, s *services, args []string) error {
			answer, err := call(cmd.Context(), s.buckets.GetBucketCORS, &adminv1.GetBucketCORSRequest{Name: args[0]})
			if err == nil && len(answer.Rules) == 0 {
				err = fmt.Errorf("bucket %s has no CORS configuration: set one with 'k3fs bucket cors put %s FILE'", args[0], args[0])
			}
			if err != nil {
				return err
			}
			var doc corsDocument
			for _, r := range answer.Rules {
				doc.CORSRules = append(doc.CORSRules, corsRule{r.Id, r.AllowedOrigins, r.AllowedMethods, r.AllowedHeaders, r.ExposeHeaders, r.MaxAgeSeconds})
			}
			enc := json.NewEncoder(cmd.OutOrStdout())
			enc.SetIndent("", "  ")
			return enc.Encode(doc)
		}),
		a.verb("put NAME FILE", `set it from a file of JSON, as 'aws s3api put-bucket-cors' takes; - is standard input`, exactly(2, "the name of a bucket and a file"),
			func(cmd *cobra.Command, s *services, args []string) error {
				raw, err := readInput(cmd, args[1])
				if err != nil {
					return err
				}
				var doc corsDocument
				if err := json.Unmarshal(raw, &doc); err != nil || len(doc.CORSRules) == 0 {
					return usageError{fmt.Errorf(`%s is no CORS configuration: write {"CORSRules": [{"AllowedOrigins": ["*"], "AllowedMethods": ["GET"]}]}`, args[1])}
				}
				q := &adminv1.SetBucketCORSRequest{Name: args[0]}
				for _, r := range doc.CORSRules {
					q.Rules = append(q.Rules, &adminv1.CORSRule{Id: r.ID, AllowedOrigins: r.AllowedOrigins, AllowedMethods: r.AllowedMethods,
						AllowedHeaders: r.AllowedHeaders, ExposeHeaders: r.ExposeHeaders, MaxAgeSeconds: r.MaxAgeSeconds})
				}
				_, err = call(cmd.Context(), s.buckets.SetBucketCORS, q)
				return err
			}),
		a.verb("delete NAME", "remove it", one, func(cmd *cobra.Command, s *services, args []string) error {
			_, err := call(cmd.Context(), s.buckets.SetBucketCORS, &adminv1.SetBucketCORSRequest{Name: args[0]})
			return err
		}))
}
