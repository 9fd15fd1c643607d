// Command gen makes the Go code of the admin API from its protobuf files, with the generators of tools/go.mod. The
// compiler is a library, so that nothing has to be installed.
package main

import (
	"bytes"
	"context"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// root is where imports begin.
const root = "proto"

func main() {
	log.SetFlags(0)
	names, err := filepath.Glob(root + "/k3fs/admin/v1/*.proto")
	if err != nil || len(names) == 0 {
		log.Fatalf("no protobuf files in %s (%v)", root, err)
	}
	for i := range names {
		names[i] = strings.TrimPrefix(names[i], root+"/")
	}
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{root}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(context.Background(), names...)
	if err != nil {
		log.Fatal(err)
	}
	request := &pluginpb.CodeGeneratorRequest{FileToGenerate: names, Parameter: proto.String("module=k3fs/daemon/adminapi")}
	for _, f := range files {
		request.ProtoFile = withImports(request.ProtoFile, f)
	}
	for _, plugin := range []string{"protoc-gen-go", "protoc-gen-connect-go"} {
		if err := run(plugin, request); err != nil {
			log.Fatalf("%s: %v", plugin, err)
		}
	}
}

// withImports adds a file behind all that it imports.
func withImports(all []*descriptorpb.FileDescriptorProto, f protoreflect.FileDescriptor) []*descriptorpb.FileDescriptorProto {
	for i := range f.Imports().Len() {
		all = withImports(all, f.Imports().Get(i).FileDescriptor)
	}
	if slices.ContainsFunc(all, func(have *descriptorpb.FileDescriptorProto) bool { return have.GetName() == f.Path() }) {
		return all
	}
	return append(all, protoutil.ProtoFromFileDescriptor(f))
}

// run lets a generator answer, and writes the files that it makes.
func run(plugin string, request *pluginpb.CodeGeneratorRequest) error {
	in, err := proto.Marshal(request)
	if err != nil {
		return err
	}
	cmd := exec.Command("go", "tool", "-modfile=../../tools/go.mod", plugin)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return err
	}
	var answer pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &answer); err != nil {
		return err
	}
	if answer.Error != nil {
		log.Fatalf("%s: %s", plugin, *answer.Error)
	}
	for _, f := range answer.File {
		if err := os.MkdirAll(filepath.Dir(f.GetName()), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(f.GetName(), []byte(f.GetContent()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
