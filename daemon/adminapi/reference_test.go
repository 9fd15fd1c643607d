package adminapi_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"k3fs/daemon/adminapi"
	"k3fs/daemon/adminapi/adminv1"
)

var update = flag.Bool("update", false, "write docs/admin-api.md")

const reference = "../../docs/admin-api.md"

// compiled are the protobuf files as they are now, with their comments.
func compiled(t *testing.T) []protoreflect.FileDescriptor {
	names, err := filepath.Glob("proto/k3fs/admin/v1/*.proto")
	require.NoError(t, err)
	for i := range names {
		names[i] = strings.TrimPrefix(names[i], "proto/")
	}
	c := protocompile.Compiler{SourceInfoMode: protocompile.SourceInfoStandard,
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{"proto"}})}
	files, err := c.Compile(context.Background(), names...)
	require.NoError(t, err)
	var all []protoreflect.FileDescriptor
	for _, f := range files {
		all = append(all, f)
	}
	return all
}

// The generated Go code is that of the protobuf files: else run go generate ./daemon/adminapi.
func TestCodeIsCurrent(t *testing.T) {
	served := append(adminapi.Files(), adminv1.File_k3fs_admin_v1_permission_proto)
	require.Len(t, compiled(t), len(served))
	for _, now := range compiled(t) {
		for _, was := range served {
			if was.Path() != now.Path() {
				continue
			}
			want := protoutil.ProtoFromFileDescriptor(now)
			want.SourceCodeInfo = nil
			got := protodesc.ToFileDescriptorProto(was)
			require.True(t, proto.Equal(canonical(t, want), canonical(t, got)), "%s has changed: run go generate ./daemon/adminapi", now.Path())
		}
	}
}

// canonical parses a descriptor anew, so that options are extensions in both.
func canonical(t *testing.T, d *descriptorpb.FileDescriptorProto) *descriptorpb.FileDescriptorProto {
	raw, err := proto.Marshal(d)
	require.NoError(t, err)
	out := &descriptorpb.FileDescriptorProto{}
	require.NoError(t, proto.Unmarshal(raw, out))
	return out
}

// docs/admin-api.md is what the protobuf files say: else run go generate ./daemon/adminapi.
func TestReferenceIsCurrent(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# The admin API

Made from daemon/adminapi/proto by ` + "`go generate ./daemon/adminapi`" + `: change those files, not this one.

The API is served as gRPC, gRPC-Web and HTTP with JSON, on ` + "`admin.listen`" + ` and on the socket ` + "`admin.sock`" + ` in the data directory
(and at ` + "`admin.socket`" + `). ` + "[operating.md](operating.md#the-admin-api)" + ` says how to sign requests. With JSON a method is

    POST /k3fs.admin.v1.BucketService/GetBucket     {"name": "logs"}

An error is ` + "`{\"code\", \"message\", \"details\"}`" + `: the code is gRPC's in lower case; the details hold a ` + "`google.rpc.ErrorInfo`" + ` with the
reason and a ` + "`google.rpc.RequestInfo`" + ` with the request's id, which every answer has in ` + "`X-Request-Id`" + `, too, and the log.
Health (` + "`grpc.health.v1.Health/Check`" + `) and reflection need no signature.
`)
	for _, f := range compiled(t) {
		for i := range f.Services().Len() {
			describeService(&b, f.Services().Get(i))
		}
	}
	b.WriteString("\n# Messages\n")
	for _, f := range compiled(t) {
		for i := range f.Messages().Len() {
			describeMessage(&b, f.Messages().Get(i))
		}
		for i := range f.Enums().Len() {
			describeEnum(&b, f.Enums().Get(i))
		}
	}
	if *update {
		require.NoError(t, os.WriteFile(reference, []byte(b.String()), 0o644))
	}
	have, err := os.ReadFile(reference)
	require.NoError(t, err)
	require.Equal(t, b.String(), string(have), "docs/admin-api.md is stale: run go generate ./daemon/adminapi")
}

func comment(d protoreflect.Descriptor) string {
	return strings.Join(strings.Fields(d.ParentFile().SourceLocations().ByDescriptor(d).LeadingComments), " ")
}

var scopes = map[adminv1.Scope]string{adminv1.Scope_SCOPE_TENANT: "of the tenant", adminv1.Scope_SCOPE_NODE: "of the node",
	adminv1.Scope_SCOPE_BUCKET: "of the bucket, inside the transaction", adminv1.Scope_SCOPE_SELF: "whoever is authenticated"}

func describeService(b *strings.Builder, s protoreflect.ServiceDescriptor) {
	fmt.Fprintf(b, "\n# %s\n\n%s\n\n| method | permission | |\n|---|---|---|\n", s.Name(), comment(s))
	for i := range s.Methods().Len() {
		m := s.Methods().Get(i)
		raw, err := proto.Marshal(m.Options())
		if err != nil {
			panic(err) // it was just parsed
		}
		options := &descriptorpb.MethodOptions{}
		if err := proto.Unmarshal(raw, options); err != nil {
			panic(err)
		}
		p := proto.GetExtension(options, adminv1.E_Permission).(*adminv1.Permission)
		fmt.Fprintf(b, "| `%s` | `%s`, %s | %s |\n", m.Name(), p.GetAction(), scopes[p.GetScope()], strings.TrimPrefix(comment(m), string(m.Name())+" "))
	}
}

func describeMessage(b *strings.Builder, m protoreflect.MessageDescriptor) {
	if m.Fields().Len() == 0 || m.Name() == "Permission" {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n", m.Name())
	if c := comment(m); c != "" {
		b.WriteString(c + "\n\n")
	}
	b.WriteString("| field | type | |\n|---|---|---|\n")
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", f.Name(), typeOf(f), comment(f))
	}
}

func typeOf(f protoreflect.FieldDescriptor) string {
	if f.IsMap() {
		return "map of " + f.MapKey().Kind().String() + " to " + f.MapValue().Kind().String()
	}
	kind := f.Kind().String()
	switch {
	case f.Message() != nil:
		kind = string(f.Message().Name())
	case f.Enum() != nil:
		kind = string(f.Enum().Name())
	}
	switch {
	case f.IsList():
		return "list of " + kind
	case f.HasOptionalKeyword():
		return "optional " + kind
	}
	return kind
}

func describeEnum(b *strings.Builder, e protoreflect.EnumDescriptor) {
	if e.Name() == "Scope" {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n", e.Name())
	for i := range e.Values().Len() {
		fmt.Fprintf(b, "- `%s` %s\n", e.Values().Get(i).Name(), comment(e.Values().Get(i)))
	}
}
