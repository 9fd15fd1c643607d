package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	alice  = Who{Accounts: []string{"000000000001", "acme"}, User: "alice", Canonical: "c1"}
	bob    = Who{Accounts: []string{"000000000002", "other"}, User: "bob", Canonical: "c2"}
	nobody = Who{}
)

// doc makes a document of statements that need not say everything.
func doc(statements ...string) string {
	for i, s := range statements {
		for _, d := range [][3]string{{"Effect", "", `"Allow"`}, {"Principal", "NotPrincipal", `"*"`}, {"Action", "NotAction", `"s3:*"`},
			{"Resource", "NotResource", `["arn:aws:s3:::b","arn:aws:s3:::b/*"]`}} {
			if !strings.Contains(s, `"`+d[0]+`"`) && (d[1] == "" || !strings.Contains(s, `"`+d[1]+`"`)) {
				s = `"` + d[0] + `":` + d[2] + "," + s
			}
		}
		statements[i] = "{" + strings.Trim(s, ",") + "}"
	}
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

func values(pairs ...string) func(string) []string {
	m := map[string][]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = append(m[pairs[i]], pairs[i+1])
	}
	return func(key string) []string { return m[key] }
}

// The language, line by line.
func TestEvaluate(t *testing.T) {
	get := Request{Who: bob, Action: "s3:GetObject", Resource: "b/k"}
	with := func(pairs ...string) Request { r := get; r.Values = values(pairs...); return r }
	as := func(w Who) Request { r := get; r.Who = w; return r }
	on := func(action, resource string) Request { return Request{Who: bob, Action: action, Resource: resource} }
	for _, c := range []struct {
		doc  string
		r    Request
		want Decision
	}{
		{doc(``), get, Allow},
		{doc(``), as(nobody), Allow},
		{doc(`"Effect":"Deny"`), get, Deny},
		{doc(``, `"Effect":"Deny"`), get, Deny},
		{doc(`"Effect":"Deny"`, ``), get, Deny},

		{doc(`"Principal":{"AWS":"*"}`), as(nobody), Allow},
		{doc(`"Principal":{"AWS":"000000000002"}`), get, Delegated},
		{doc(`"Principal":{"AWS":["000000000003","arn:aws:iam::000000000002:root"]}`), get, Delegated},
		{doc(`"Principal":{"AWS":"arn:aws:iam::other:root"}`), get, Delegated},
		{doc(`"Principal":{"AWS":"arn:aws:iam::000000000002:user/bob"}`), get, Allow},
		{doc(`"Principal":{"AWS":"arn:aws:iam::000000000002:user/path/bob"}`), get, Allow},
		{doc(`"Principal":{"AWS":"arn:aws:iam::000000000002:user/eve"}`), get, Undecided},
		{doc(`"Principal":{"AWS":"arn:aws:iam::000000000002:user/bob"}`), as(nobody), Undecided},
		{doc(`"Principal":{"CanonicalUser":"C2"}`), get, Delegated},
		{doc(`"Principal":{"CanonicalUser":"c1"}`), get, Undecided},
		{doc(`"Principal":{"Service":"logging.s3.amazonaws.com"}`), get, Undecided},
		{doc(`"Effect":"Deny","NotPrincipal":{"AWS":"000000000001"}`), get, Deny},
		{doc(`"Effect":"Deny","NotPrincipal":{"AWS":"000000000001"}`), as(alice), Undecided},
		{doc(`"Effect":"Deny","NotPrincipal":{"AWS":"000000000001"}`), as(nobody), Deny},

		{doc(`"Action":"s3:getobject"`), get, Allow},
		{doc(`"Action":["s3:PutObject","s3:Get*"]`), get, Allow},
		{doc(`"Action":"s3:?etObject"`), get, Allow},
		{doc(`"Action":"s3:Put*"`), get, Undecided},
		{doc(`"Action":"*"`), get, Allow},
		{doc(`"NotAction":"s3:Get*"`), get, Undecided},
		{doc(`"NotAction":"s3:Get*"`), on("s3:PutObject", "b/k"), Allow},

		{doc(`"Resource":"arn:aws:s3:::b"`), get, Undecided},
		{doc(`"Resource":"arn:aws:s3:::b/*"`), on("s3:ListBucket", "b"), Undecided},
		{doc(`"Resource":"arn:aws:s3:::b/photos/*"`), on("s3:GetObject", "b/photos/x/y"), Allow},
		{doc(`"Resource":"arn:aws:s3:::b/photos/*"`), on("s3:GetObject", "b/photosx"), Undecided},
		{doc(`"Resource":"arn:aws:s3:::b/a?c"`), on("s3:GetObject", "b/aüc"), Allow},
		{doc(`"Resource":"arn:aws:s3:::*"`), get, Allow},
		{doc(`"NotResource":"arn:aws:s3:::b/private/*"`), on("s3:GetObject", "b/private/x"), Undecided},
		{doc(`"NotResource":"arn:aws:s3:::b/private/*"`), get, Allow},
		{doc(`"Resource":"arn:aws:s3:::b/home/${aws:username}/*"`), Request{Who: bob, Action: "s3:GetObject", Resource: "b/home/bob/x", Values: values("aws:username", "bob")}, Allow},
		{doc(`"Resource":"arn:aws:s3:::b/home/${aws:username}/*"`), Request{Who: bob, Action: "s3:GetObject", Resource: "b/home/eve/x", Values: values("aws:username", "bob")}, Undecided},
		{doc(`"Resource":"arn:aws:s3:::b/home/${aws:username}/*"`), Request{Who: bob, Action: "s3:GetObject", Resource: "b/home/eve/x", Values: values("aws:username", "*")}, Undecided},
		{doc(`"Resource":"arn:aws:s3:::b/home/${aws:username}/*"`), on("s3:GetObject", "b/home//x"), Undecided},
		{doc(`"Resource":"arn:aws:s3:::b/${aws:username, 'guest'}/*"`), on("s3:GetObject", "b/guest/x"), Allow},
		{doc(`"Resource":"arn:aws:s3:::b/${*}"`), on("s3:GetObject", "b/*"), Allow},
		{doc(`"Resource":"arn:aws:s3:::b/${*}"`), get, Undecided},

		{doc(`"Condition":{"StringEquals":{"s3:prefix":["a","b"]}}`), with("s3:prefix", "b"), Allow},
		{doc(`"Condition":{"StringEquals":{"s3:prefix":"a"}}`), with("s3:prefix", "A"), Undecided},
		{doc(`"Condition":{"StringEquals":{"s3:prefix":"a"}}`), get, Undecided},
		{doc(`"Condition":{"StringEqualsIfExists":{"s3:prefix":"a"}}`), get, Allow},
		{doc(`"Condition":{"StringEqualsIgnoreCase":{"S3:PREFIX":"a"}}`), with("s3:prefix", "A"), Allow},
		{doc(`"Condition":{"StringNotEquals":{"s3:prefix":["a","b"]}}`), with("s3:prefix", "b"), Undecided},
		{doc(`"Condition":{"StringNotEquals":{"s3:prefix":"a"}}`), get, Allow},
		{doc(`"Condition":{"StringLike":{"aws:Referer":"http://x/*"}}`), with("aws:referer", "http://x/y"), Allow},
		{doc(`"Condition":{"StringNotLike":{"aws:Referer":"http://x/*"}}`), with("aws:referer", "http://x/y"), Undecided},
		{doc(`"Condition":{"StringEquals":{"s3:prefix":"a"},"Bool":{"aws:SecureTransport":"true"}}`), with("s3:prefix", "a"), Undecided},
		{doc(`"Condition":{"Bool":{"aws:SecureTransport":true}}`), with("aws:securetransport", "true"), Allow},
		{doc(`"Effect":"Deny","Condition":{"Bool":{"aws:SecureTransport":"false"}}`), with("aws:securetransport", "false"), Deny},
		{doc(`"Condition":{"NumericLessThanEquals":{"s3:max-keys":10}}`), with("s3:max-keys", "10"), Allow},
		{doc(`"Condition":{"NumericLessThan":{"s3:max-keys":"10"}}`), with("s3:max-keys", "10"), Undecided},
		{doc(`"Condition":{"NumericLessThan":{"s3:max-keys":"10"}}`), with("s3:max-keys", "ten"), Undecided},
		{doc(`"Condition":{"DateGreaterThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"}}`), with("aws:currenttime", "2021-01-01T00:00:00Z"), Allow},
		{doc(`"Condition":{"IpAddress":{"aws:SourceIp":["10.0.0.0/8","::1"]}}`), with("aws:sourceip", "10.1.2.3"), Allow},
		{doc(`"Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`), with("aws:sourceip", "11.1.2.3"), Undecided},
		{doc(`"Condition":{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`), with("aws:sourceip", "11.1.2.3"), Allow},
		{doc(`"Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`), with("aws:sourceip", "::ffff:10.1.2.3"), Allow},
		{doc(`"Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/b*"}}`), with("aws:principalarn", "arn:aws:iam::2:user/bob"), Allow},
		{doc(`"Condition":{"BinaryEquals":{"s3:prefix":"aGk="}}`), with("s3:prefix", "aGk="), Allow},
		{doc(`"Condition":{"Null":{"s3:x-amz-acl":"true"}}`), get, Allow},
		{doc(`"Condition":{"Null":{"s3:x-amz-acl":"false"}}`), get, Undecided},
		{doc(`"Condition":{"ForAllValues:StringEquals":{"s3:RequestObjectTagKeys":["a","b"]}}`), with("s3:requestobjecttagkeys", "a", "s3:requestobjecttagkeys", "b"), Allow},
		{doc(`"Condition":{"ForAllValues:StringEquals":{"s3:RequestObjectTagKeys":["a"]}}`), with("s3:requestobjecttagkeys", "a", "s3:requestobjecttagkeys", "b"), Undecided},
		{doc(`"Condition":{"ForAllValues:StringEquals":{"s3:RequestObjectTagKeys":["a"]}}`), get, Allow},
		{doc(`"Condition":{"ForAnyValue:StringEquals":{"s3:RequestObjectTagKeys":["b"]}}`), with("s3:requestobjecttagkeys", "a", "s3:requestobjecttagkeys", "b"), Allow},
		{doc(`"Condition":{"ForAnyValue:StringEquals":{"s3:RequestObjectTagKeys":["b"]}}`), get, Undecided},
		{doc(`"Condition":{"StringEquals":{"s3:prefix":"${aws:username}"}}`), with("s3:prefix", "bob", "aws:username", "bob"), Allow},
		{doc(`"Condition":{"StringEquals":{"s3:prefix":"${aws:username}"}}`), with("s3:prefix", ""), Undecided},
	} {
		d, err := Parse([]byte(c.doc), "b")
		require.NoError(t, err, c.doc)
		require.Equal(t, c.want, d.Evaluate(&c.r), "%s\n%+v", c.doc, c.r)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, bad := range []string{
		``, `[]`, `{}`, `{"Statement":[]}`, `null`, `{"Statement":{}} x`,
		`{"Version":"2020-01-01","Statement":` + `[]}`,
		doc(`"Effect":"allow"`), doc(`"Sid":7`), doc(`"Unknown":"x"`), doc(`"effect":"Allow"`),
		doc(`"Principal":"me"`), doc(`"Principal":{"AWS":""}`), doc(`"Principal":{}`), doc(`"Principal":{"Google":"x"}`), doc(`"Principal":{"AWS":"arn:aws:s3:::b"}`),
		doc(`"Principal":"*","NotPrincipal":"*"`), doc(`"Action":"ec2:Run"`), doc(`"Action":[]`), doc(`"Action":7`),
		doc(`"Resource":"arn:aws:s3:::other/*"`), doc(`"Resource":"b"`), doc(`"Resource":"arn:aws:s3:::"`),
		doc(`"Condition":{"StringIs":{"s3:prefix":"a"}}`), doc(`"Condition":{"IpAddress":{"aws:SourceIp":"here"}}`), doc(`"Condition":{"Bool":{"aws:SecureTransport":"maybe"}}`),
		doc(`"Condition":{"Bool":{"aws:SecureTransprot":"false"}}`), doc(`"Condition":{"Null":{"aws:":"true"}}`), doc(`"Condition":{"Null":{"aws:PrincipalTag/":"true"}}`),
		doc(`"Condition":{"Null":{"aws:SourceIp/x":"true"}}`), doc(`"Condition":{"Null":{"s3:prefxi":"true"}}`),
		doc(`"Condition":{"StringEquals":{"prefix":"a"}}`), doc(`"Condition":{"StringEquals":{"s3:prefix":{}}}`), doc(`"Condition":[]`),
		doc(`"Action":"s3:*","Action":"s3:Get*"`), doc(`"NotPrincipal":{"AWS":"000000000002"}`),
		strings.Repeat(" ", MaxSize+1),
		`{"Statement":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
	} {
		_, err := Parse([]byte(bad), "b")
		require.ErrorAs(t, err, new(*Error), bad)
	}
}

func TestPublic(t *testing.T) {
	for text, want := range map[string]bool{
		doc(``): true, doc(`"Effect":"Deny"`): false, doc(`"Principal":{"AWS":"000000000002"}`): false,
		doc(`"Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`):              false,
		doc(`"Condition":{"IpAddress":{"aws:SourceIp":"0.0.0.0/0"}}`):               true,
		doc(`"Condition":{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`):           true,
		doc(`"Condition":{"StringLike":{"aws:Referer":"http://x/*"}}`):              true,
		doc(`"Condition":{"StringEquals":{"aws:PrincipalAccount":"000000000002"}}`): false,
		doc(`"Condition":{"StringLike":{"aws:PrincipalAccount":"*"}}`):              true,
	} {
		d, err := Parse([]byte(text), "b")
		require.NoError(t, err)
		require.Equal(t, want, d.Public(), text)
	}
}

func TestShared(t *testing.T) {
	for text, want := range map[string]bool{
		doc(``): true, doc(`"Principal":{"AWS":"000000000001"}`): false, doc(`"Principal":{"AWS":"arn:aws:iam::acme:user/x"}`): false,
		doc(`"Principal":{"AWS":["acme","other"]}`): true, doc(`"Effect":"Deny"`): false, doc(`"Principal":{"CanonicalUser":"c1"}`): false,
	} {
		d, err := Parse([]byte(text), "b")
		require.NoError(t, err)
		require.Equal(t, want, d.Shared(alice.Accounts, alice.Canonical), text)
	}
}

// A pattern of many stars does not take exponential time.
func TestLikeIsBounded(t *testing.T) {
	require.False(t, like(strings.Repeat("*a", 200)+"b", strings.Repeat("a", 5000)))
	require.True(t, like("a*b?d", "axxbcd"))
}

// FuzzPolicy: no document makes the parser or the evaluator fail; and an added Deny never allows more.
func FuzzPolicy(f *testing.F) {
	f.Add(doc(`"Condition":{"StringLike":{"aws:Referer":"http://${aws:username}/*"}}`), "s3:GetObject", "b/k", "http://x/y")
	f.Add(doc(`"Effect":"Deny","NotAction":"s3:Get*","NotResource":"arn:aws:s3:::b/${*}","NotPrincipal":{"AWS":["1"]}`), "s3:PutObject", "b/*", "")
	f.Fuzz(func(t *testing.T, text, action, resource, value string) {
		d, err := Parse([]byte(text), "b")
		if err != nil {
			require.ErrorAs(t, err, new(*Error))
			return
		}
		r := Request{Who: bob, Action: action, Resource: resource, Values: func(string) []string { return []string{value} }}
		got := d.Evaluate(&r)
		deny, err := Parse([]byte(doc(`"Effect":"Deny","Action":"*","Resource":"*"`)), "b")
		require.NoError(t, err)
		d.statements = append(d.statements, deny.statements...)
		require.Equal(t, Deny, d.Evaluate(&r), fmt.Sprint(got))
		d.Public()
		d.Shared(nil, "")
	})
}
