package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// show prints a message: as JSON, or as text writes it in columns between tabs.
func show(a *api, cmd *cobra.Command, m proto.Message, text func(w io.Writer)) error {
	return a.show(cmd, plain(m.ProtoReflect()), text)
}

// showAll prints a list of messages: as a JSON array, or as text writes it.
func showAll[M proto.Message](a *api, cmd *cobra.Command, all []M, text func(w io.Writer)) error {
	list := make([]any, 0, len(all))
	for _, m := range all {
		list = append(list, plain(m.ProtoReflect()))
	}
	return a.show(cmd, list, text)
}

func (a *api) show(cmd *cobra.Command, v any, text func(w io.Writer)) error {
	if a.output == "json" {
		enc := json.NewEncoder(cmd.OutOrStdout())
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
	text(w)
	return w.Flush()
}

// row writes one line of a table.
func row(w io.Writer, cells ...any) {
	for i, c := range cells {
		if i > 0 {
			fmt.Fprint(w, "\t")
		}
		fmt.Fprint(w, printable(fmt.Sprint(c)))
	}
	fmt.Fprintln(w)
}

// printable keeps control characters of others' names from the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

// plain is a message as encoding/json writes it well: names as in the protobuf files, numbers as numbers, times by RFC
// 3339, durations as Go's, enumerations in lower case without their type. What is not set is left out, but for
// what a zero tells.
func plain(m protoreflect.Message) any {
	switch v := m.Interface().(type) {
	case *timestamppb.Timestamp:
		return v.AsTime().Format(time.RFC3339Nano)
	case *durationpb.Duration:
		return v.AsDuration().String()
	}
	out := map[string]any{}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		tells := f.Kind() != protoreflect.StringKind && f.Kind() != protoreflect.EnumKind && f.Kind() != protoreflect.MessageKind && !f.HasPresence()
		if m.Has(f) || tells {
			out[string(f.Name())] = plainField(f, m.Get(f))
		}
	}
	return out
}

func plainField(f protoreflect.FieldDescriptor, v protoreflect.Value) any {
	switch {
	case f.IsMap():
		out := map[string]any{}
		v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			out[k.String()] = plainValue(f.MapValue(), v)
			return true
		})
		return out
	case f.IsList():
		out := []any{}
		for i := range v.List().Len() {
			out = append(out, plainValue(f, v.List().Get(i)))
		}
		return out
	}
	return plainValue(f, v)
}

func plainValue(f protoreflect.FieldDescriptor, v protoreflect.Value) any {
	switch f.Kind() {
	case protoreflect.MessageKind:
		return plain(v.Message())
	case protoreflect.EnumKind:
		value := f.Enum().Values().ByNumber(v.Enum())
		if value == nil {
			return int(v.Enum())
		}
		_, short, _ := strings.Cut(string(value.Name()), "_")
		return strings.ToLower(short)
	case protoreflect.BytesKind:
		if utf8.Valid(v.Bytes()) {
			return string(v.Bytes())
		}
	}
	return v.Interface()
}

// when is a time for people; empty if it is not set.
func when(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().Format(time.RFC3339)
}
