package settings_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/dashboards/datasource/pkg/settings"
)

func TestParse(t *testing.T) {
	f := func(json string, secure map[string]string, wants ...string) {
		t.Helper()
		s, err := settings.Parse([]byte(json), secure)
		if len(wants) == 0 {
			if err != nil {
				t.Errorf("Parse(%s): %v", json, err)
			}
			if err := s.Connection().Validate(); err != nil {
				t.Errorf("the connection of %s: %v", json, err)
			}
			return
		}
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("Parse(%s) = %v, want one line with %q", json, err, want)
			}
		}
	}
	f(`{"scope":"operator"}`, nil)
	f(`{"scope":"operator","allowSQL":true,"oauthPassThru":true,"protocol":"native","tls":true,"serverName":"ch"}`, map[string]string{"password": "x"})
	f(`{"scope":"tenant","tenant":"t-1"}`, nil)
	f(`{"scope":"identity","identity":{"source":"grafana","grafanaURL":"http://127.0.0.1:3000","map":[{"by":"subject","value":"user:a","tenant":"t-1"}]}}`, nil)
	f(`{"scope":"identity","identity":{"source":"oauth","issuer":"https://id.example.org","audience":"grafana","tenantClaim":"tenant"}}`, nil)

	f(``, nil, "scope: say whom")
	f(`{"scope":"everyone"}`, nil, `scope "everyone"`)
	f(`{"scope":"tenant"}`, nil, "needs the tenant's id")
	f(`{"scope":"operator","tenant":"t-1"}`, nil, "tenant: is set")
	f(`{"scope":"tenant","tenant":"t-1","allowSQL":true}`, nil, "allowSQL")
	f(`{"scope":"operator","identity":{"source":"grafana"}}`, nil, "identity: is set")
	f(`{"scope":"identity","identity":{"source":"grafana","grafanaURL":"here"}}`, nil, "identity.grafanaURL", "nobody is mapped")
	f(`{"scope":"identity","identity":{"source":"grafana","grafanaURL":"http://g","tenantClaim":"t"}}`, nil, "need source oauth")
	f(`{"scope":"identity","identity":{"source":"oauth","tenantClaim":"t","operatorClaim":"g"}}`, nil, "identity.issuer", "identity.audience", "operatorValue")
	f(`{"scope":"identity","identity":{"source":"grafana","grafanaURL":"http://g","map":[{"by":"role","value":"Admin","operator":true}]}}`, nil, `by "role"`)
	f(`{"scope":"identity","identity":{"source":"grafana","grafanaURL":"http://g","map":[{"by":"org","value":"1","operator":true}]}}`, nil, "not an operator")
	f(`{"scope":"identity","identity":{"source":"grafana","grafanaURL":"http://g","map":[{"by":"login","tenant":"t","operator":true}]}}`, nil, "value: is empty", "not both")
	f(`{"scope":"operator","host":"http://ch","port":70000,"protocol":"ftp","database":"","username":"","maxConnections":0}`, nil,
		"host", "protocol", "database", "username", "maxConnections")
	f(`{"scope":"operator","tlsSkipVerify":true}`, nil, "tls: is off")
	f(`{"scope":"operator","tls":true}`, map[string]string{"tlsClientCert": "PEM"}, "belong together")
	f(`{"Scope":"operator"}`, nil, `did you mean "scope"`)
	f(`{"scope":"operator","sql":{"maxRow":1}}`, nil, "maxRow")
}

func TestSecretsAreNotPrinted(t *testing.T) {
	secret := "correct-horse"
	s, err := settings.Parse([]byte(`{"scope":"nobody","tls":true}`), map[string]string{
		"password": secret, "tlsCACert": secret, "tlsClientCert": secret, "tlsClientKey": secret,
	})
	if err == nil {
		t.Fatal("a scope of nobody was taken")
	}
	for _, printed := range []string{err.Error(), fmt.Sprintf("%v %+v %#v", s, s, s), fmt.Sprintf("%v %+v %#v", s.Connection(), s.Connection(), s.Connection())} {
		if strings.Contains(printed, secret) {
			t.Errorf("a secret is printed: %s", printed)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"scope":"identity","identity":{"source":"grafana","grafanaURL":"http://g","map":[{"by":"subject","value":"user:a","tenant":"t"}]}}`))
	f.Add([]byte(`{"scope":"operator","sql":{"maxRows":1}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := settings.Parse(raw, nil)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than a line: %q", err)
			}
			return
		}
		if err := s.Connection().Validate(); err != nil {
			t.Errorf("settings that are right make a connection that is not: %v", err)
		}
	})
}
