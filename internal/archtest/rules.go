package archtest

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
)

// report records a finding in the file being looked at.
type report func(line int, format string, args ...any)

// trees are the four parts that meet only as bytes and rows.
var trees = []string{"collector", "ingest", "aggregator", "dashboards"}

// pure packages decide about energy, time and money: same input, same bytes.
var pure = []string{
	"collector/meter",
	"aggregator/window", "aggregator/attribution", "aggregator/closing", "aggregator/adjusting", "aggregator/carbon", "aggregator/sovereignty", "aggregator/tariff",
	"aggregator/ledger", "aggregator/series",
	"schemas/unit", "schemas/record", "schemas/wire", "schemas/factor", "schemas/region",
}

// core packages do no I/O and are handed their time. Pure ones are core, and these may besides wait and count what they do.
var core = append([]string{"aggregator/transparency", "collector/agent", "collector/nodemeter", "collector/workload", "ingest/pipeline", "ingest/rollup", "dashboards/query"}, pure...)

// adapters lie below a core package, whose publishers they ask or whose source they translate, and are none themselves: they do I/O and have a clock.
var adapters = []string{
	"aggregator/carbon/provider", "aggregator/carbon/rte", "aggregator/carbon/electricitymaps", "aggregator/carbon/entsoe", "aggregator/carbon/csvfile",
	"aggregator/carbon/yearly", "aggregator/carbon/intake", "dashboards/query/typescript",
}

// isCore says that a folder is one of core, and isPure that it is one of pure.
func isCore(dir string) bool { return within(dir, core...) && !within(dir, adapters...) }
func isPure(dir string) bool { return within(dir, pure...) && !within(dir, adapters...) }

// accounts are the packages whose every figure ends in the ledger or on an invoice.
var accounts = []string{
	"aggregator/window", "aggregator/attribution", "aggregator/closing", "aggregator/adjusting", "aggregator/carbon", "aggregator/tariff", "aggregator/ledger",
}

// client is a library that only the adapters named after it know.
type client struct {
	prefix  string              // of the import path
	allowed func(d string) bool // folders that may import it
	where   string              // the same in words
}

var clients = []client{
	{
		"github.com/segmentio/kafka-go", func(d string) bool { return path.Base(d) == "kafka" || within(d, "internal/kafkaconn") },
		"folders named kafka and internal/kafkaconn",
	},
	{
		"github.com/twmb/franz-go", func(d string) bool { return within(d, "internal/embedded/kafka") },
		"internal/embedded/kafka, and there only as the broker",
	},
	{"github.com/ClickHouse/", clickHouseFolder, "folders named clickhouse and internal/chconn"},
	{"database/sql", clickHouseFolder, "folders named clickhouse and internal/chconn"},
	{
		"github.com/ebitengine/purego", func(d string) bool {
			return within(d, "collector/dcgm", "collector/nvml", "internal/embedded/clickhouse")
		},
		"collector/dcgm, collector/nvml and internal/embedded/clickhouse, the three that load a C library",
	},
	{
		"github.com/prometheus/common", func(d string) bool { return within(d, "collector/exporter") },
		"collector/exporter, which reads what another program exposes",
	},
	{
		"google.golang.org/grpc", func(d string) bool { return within(d, "collector/kubernetes") },
		"collector/kubernetes, which speaks to the kubelet",
	},
	{"k8s.io/", func(d string) bool { return within(d, "collector/kubernetes") }, "collector/kubernetes, which speaks to the kubelet"},
	{
		"github.com/grafana/", func(d string) bool { return within(d, "dashboards/datasource") },
		"dashboards/datasource, which is Grafana's plugin and what starts it",
	},
	{
		"github.com/hashicorp/go-", func(d string) bool { return within(d, "dashboards/datasource/host") },
		"dashboards/datasource/host, which starts the plugin as Grafana does",
	},
	{
		"github.com/coreos/go-oidc", func(d string) bool { return within(d, "dashboards/datasource/pkg/identity") },
		"dashboards/datasource/pkg/identity, which verifies who asks",
	},
	{
		"github.com/go-jose", func(d string) bool { return within(d, "dashboards/datasource/pkg/identity") },
		"dashboards/datasource/pkg/identity, which verifies who asks",
	},
	{
		"github.com/pressly/goose", func(d string) bool { return within(d, "schemas/clickhouse") },
		"schemas/clickhouse, which owns the migrations",
	},
	{
		"github.com/alecthomas/kong", func(d string) bool { return within(d, "cmd", "internal/process") },
		"cmd and internal/process, which own the command line",
	},
}

func clickHouseFolder(d string) bool {
	return path.Base(d) == "clickhouse" || within(d, "internal/chconn", "internal/embedded/clickhouse")
}

// checkTrees keeps the parts apart. Tests obey too, except that those of schemas may start an embedded server.
func checkTrees(s source, report report) {
	for importPath, at := range s.imports {
		target, ok := ours(importPath)
		if !ok {
			continue
		}
		from, to := top(s.dir), top(target)
		switch {
		case from == to:
		case slices.Contains(trees, from) && slices.Contains(trees, to):
			report(s.line(at), "%s imports %s, but collector, ingest, aggregator and dashboards never import one another: they meet as "+
				"bytes in Kafka and rows in ClickHouse; move shared vocabulary to schemas, running to internal, or copy it", s.dir, target)
		case from == "schemas" && (to != "internal" || !s.test):
			report(s.line(at), "%s imports %s, but schemas imports nothing else of ours: it is what everybody else stands on", s.dir, target)
		case from == "internal":
			report(s.line(at), "%s imports %s, but internal is plumbing that knows no domain: let main hand it what it needs, "+
				"or move the code to the part whose words it speaks", s.dir, target)
		case to == "cmd":
			report(s.line(at), "%s imports %s, but nothing imports a main: move the code to the package whose work it is", s.dir, target)
		}
	}
}

// provers recompute what others have booked, each with what it must not share with them.
var provers = []struct {
	dir       string
	forbidden []string
}{
	{"aggregator/verify", []string{
		"aggregator/attribution", "aggregator/window", "aggregator/closing", "aggregator/carbon", "aggregator/ledger", "aggregator/adjusting",
	}},
	{"deploy/truth", []string{"aggregator/attribution", "aggregator/window"}},
}

// checkProvers keeps a proof apart from what it proves: made by the same code, both would be wrong together.
func checkProvers(s source, report report) {
	if s.test {
		return
	}
	for importPath, at := range s.imports {
		target, own := ours(importPath)
		for _, p := range provers {
			if own && s.dir == p.dir && within(target, p.forbidden...) {
				report(s.line(at), "%s imports %s, but a proof shares no arithmetic with what it proves: write the rule a second time, from its words", s.dir, target)
			}
		}
	}
}

// ioImports are what reaches outside the process. net/netip and net/url only parse.
var ioImports = []string{
	"net", "net/http", "net/http/httptest", "net/rpc", "net/smtp", "crypto/tls", "os", "os/exec", "os/signal", "os/user", "syscall",
	"unsafe", "plugin", "log", "golang.org/x/sys/unix",
}

// checkCore keeps I/O, clocks, chance and floats out of the packages that decide.
func checkCore(s source, report report) {
	if s.test || !within(s.dir, core...) {
		return
	}
	if !isCore(s.dir) {
		checkFloats(s, report)
		return
	}
	isPure := isPure(s.dir)
	for importPath, at := range s.imports {
		target, own := ours(importPath)
		switch {
		case slices.Contains(ioImports, importPath):
			report(s.line(at), "%s is core and imports %s, but core does no I/O: declare a small interface here and let an adapter do it", s.dir, importPath)
		case own && outsideCore(top(s.dir), target):
			report(s.line(at), "%s is core and imports %s, but core imports only schemas and other core: declare a small interface here and let main wire it", s.dir, target)
		case isPure && (importPath == "math/rand" || importPath == "math/rand/v2" || importPath == "crypto/rand"):
			report(s.line(at), "%s imports %s, but the same inputs must give the same bytes: let the caller hand in what is random", s.dir, importPath)
		case isPure && strings.HasPrefix(importPath, "github.com/prometheus/"):
			report(s.line(at), "%s imports %s, but it is pure: return what happened and let the caller count it", s.dir, importPath)
		}
	}
	forbidden := []string{"Now", "Since", "Until"}
	if isPure {
		forbidden = append(forbidden, "Sleep", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer")
	}
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if name, ok := selects(s, sel, "time"); ok && slices.Contains(forbidden, name) {
				report(s.line(sel.Pos()), "%s uses time.%s, but core is handed its time: take the instant or a clock as an argument", s.dir, name)
			}
		}
		return true
	})
	checkFloats(s, report)
}

// checkFloats keeps floats out of what ends in an account, and out of what reads numbers for it.
func checkFloats(s source, report report) {
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && (id.Name == "float64" || id.Name == "float32") && within(s.dir, accounts...) {
			report(s.line(id.Pos()), "%s uses %s, but accounts are integers or exact decimals: floats exist in gauges and on display", s.dir, id.Name)
		}
		return true
	})
}

// outsideCore says whether a core package of a tree may not import the folder. Other trees are checkTrees's to refuse.
func outsideCore(tree, target string) bool {
	return slices.Contains(trees, tree) && (top(target) == tree || top(target) == "internal") && !isCore(target)
}

// checkClients keeps each client library in the adapters named after it.
func checkClients(s source, report report) {
	if s.test {
		return
	}
	for importPath, at := range s.imports {
		for _, c := range clients {
			if strings.HasPrefix(importPath, c.prefix) && !c.allowed(s.dir) {
				report(s.line(at), "%s imports %s, which belongs in %s", s.dir, importPath, c.where)
			}
		}
	}
}

// checkProcess keeps the life of the process, and what is shared by all of it, in the hands of main
// and of internal/process, which acts for every main.
func checkProcess(s source, report report) {
	if s.test {
		return
	}
	for _, decl := range s.syntax.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			report(s.line(fn.Pos()), "%s has an init function, but nothing happens on import: main lists what it uses", s.dir)
		}
	}
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if name, ok := selects(s, sel, "os"); ok && name == "Exit" && !within(s.dir, "cmd", "internal/process") && s.syntax.Name.Name != "main" {
			report(s.line(sel.Pos()), "%s calls os.Exit, but only main ends the process: return an error", s.dir)
		}
		if name, ok := selects(s, sel, "log"); ok && strings.HasPrefix(name, "Fatal") {
			report(s.line(sel.Pos()), "%s calls log.%s, which ends the process past every defer: return an error", s.dir, name)
		}
		if name, ok := selects(s, sel, "log/slog"); ok && (name == "Default" || name == "SetDefault") {
			report(s.line(sel.Pos()), "%s uses slog.%s, but the logger is handed in: take a *slog.Logger", s.dir, name)
		}
		// Grafana's SDK serves the default registry and no other: the plugin's main hands it in.
		if name, ok := selects(s, sel, "github.com/prometheus/client_golang/prometheus"); ok && s.dir != "dashboards/datasource/pkg" &&
			slices.Contains([]string{"DefaultRegisterer", "DefaultGatherer", "Register", "MustRegister", "Unregister"}, name) {
			report(s.line(sel.Pos()), "%s uses prometheus.%s, but the registry is handed in: take a prometheus.Registerer", s.dir, name)
		}
		return true
	})
}

// selects returns the name picked from an imported package, whatever the file calls that package.
func selects(s source, sel *ast.SelectorExpr, importPath string) (name string, ok bool) {
	id, ok := sel.X.(*ast.Ident)
	if !ok {
		return "", false
	}
	for _, spec := range s.syntax.Imports {
		if spec.Path.Value != `"`+importPath+`"` {
			continue
		}
		local := path.Base(importPath)
		if spec.Name != nil {
			local = spec.Name.Name
		}
		return sel.Sel.Name, id.Name == local
	}
	return "", false
}

var readsSamples = regexp.MustCompile("(?i)\\b(?:from|join)\\s+(?:[\\w{}.`\"]+\\.)?[`\"]?samples\\b")

// checkTables keeps the raw table behind its view, which turns sentinels into NULL.
func checkTables(s source, report report) {
	const text = "%s reads the table samples, whose sentinels look like values: read the view sample"
	if s.test || within(s.dir, "ingest", "schemas/clickhouse") {
		return
	}
	if s.syntax == nil {
		if at := readsSamples.FindStringIndex(s.text); at != nil {
			report(1+strings.Count(s.text[:at[0]], "\n"), text, s.dir)
		}
		return
	}
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && readsSamples.MatchString(lit.Value) {
			report(s.line(lit.Pos()), text, s.dir)
		}
		return true
	})
}

// vague names say nothing about what a package owns.
var vague = []string{"util", "utils", "common", "helper", "helpers", "model", "models", "manager", "misc", "shared"}

// checkPackages looks at whole folders: the name, the doc, and where mains may lie.
func checkPackages(sources []source) []Finding {
	var found []Finding
	for first, files := range byFolder(sources) {
		name := first.syntax.Name.Name
		add := func(text string) {
			found = append(found, Finding{File: first.name, Line: first.line(first.syntax.Package), Text: text})
		}
		want := "Package " + name + " "
		if name == "main" {
			want = "Command " + path.Base(first.dir) + " "
			if !within(first.dir, "cmd", "internal", "dashboards/datasource/pkg", "dashboards/datasource/release", "dashboards/query/typescript", "deploy/truth") {
				add(first.dir + " is a main package: commands live in cmd")
			}
		}
		if slices.Contains(vague, name) {
			add("package " + name + " is named after nothing: a package is a noun of our domain or the name of what it talks to")
		}
		if !slices.ContainsFunc(files, func(s source) bool { return strings.HasPrefix(s.syntax.Doc.Text(), want) }) {
			add(first.dir + " has no package doc: say, in a comment that starts \"" + want +
				"…\", what it owns, what it promises and what it leaves to others")
		}
	}
	return found
}

// byFolder yields the Go files of each folder that has any besides tests, with the first of them.
func byFolder(sources []source) func(yield func(source, []source) bool) {
	return func(yield func(source, []source) bool) {
		folders := map[string][]source{}
		var order []string
		for _, s := range sources {
			if s.syntax == nil || s.test {
				continue
			}
			if folders[s.dir] == nil {
				order = append(order, s.dir)
			}
			folders[s.dir] = append(folders[s.dir], s)
		}
		for _, dir := range order {
			if !yield(folders[dir][0], folders[dir]) {
				return
			}
		}
	}
}
