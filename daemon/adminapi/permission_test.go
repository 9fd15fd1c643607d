package adminapi

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"k3fs/daemon/adminapi/adminv1"
)

// A method that names no permission, none that tenancy knows, or no scope, is served by nobody: New fails.
func TestMethodsNameTheirPermission(t *testing.T) {
	with := func(p *adminv1.Permission) []protoreflect.FileDescriptor {
		o := &descriptorpb.MethodOptions{}
		if p != nil {
			proto.SetExtension(o, adminv1.E_Permission, p)
		}
		f, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
			Name: proto.String("new.proto"), Package: proto.String("new"), Syntax: proto.String("proto3"),
			MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Empty")}},
			Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("S"), Method: []*descriptorpb.MethodDescriptorProto{
				{Name: proto.String("M"), InputType: proto.String(".new.Empty"), OutputType: proto.String(".new.Empty"), Options: o}}}},
		}, protoregistry.GlobalFiles)
		require.NoError(t, err)
		return []protoreflect.FileDescriptor{f}
	}
	for name, p := range map[string]*adminv1.Permission{
		"none": nil, "empty": {}, "no scope": {Action: "k3fs:GetNode"}, "unknown": {Action: "k3fs:Explode", Scope: adminv1.Scope_SCOPE_NODE},
	} {
		_, err := permissions(with(p))
		require.Error(t, err, name)
	}
	rules, err := permissions(with(&adminv1.Permission{Action: "k3fs:GetNode", Scope: adminv1.Scope_SCOPE_NODE}))
	require.NoError(t, err)
	require.Contains(t, rules, "/new.S/M")
}
