/* scenario.c: reads the scenario text. SCENARIO.md is its manual.
 *
 * One statement a line; names are declared before they are used. The first fault ends the reading, and the message names
 * its line and column. Nothing in the text can make the library fail later: what is accepted here can be played. */
#include "parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char scenario_default[] = "# the scenario that is played when none is named\n"
				"seed 1\n"
				"clock wall\n"
				"node localhost hgx-b200\n"
				"load localhost 0 0 4102444800000000 training\n"
				"load localhost 1 0 4102444800000000 training\n"
				"load localhost 2 0 4102444800000000 inference\n"
				"load localhost 3 0 4102444800000000 inference share=500\n"
				"load localhost 4 0 4102444800000000 idle\n";

static uint64_t name_hash(const char *s, size_t n)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)s[i]) * UINT64_C(0x100000001b3);
	return mix64(h);
}

static Node **node_place(const Scenario *s, const char *name, size_t len)
{
	for (uint64_t i = name_hash(name, len);; i++) {
		Node **p = &s->by_name[i & (uint64_t)(s->nhash - 1)];
		if (!*p || (strlen((*p)->name) == len && !memcmp((*p)->name, name, len)))
			return p;
	}
}

Node *scenario_node(const Scenario *s, const char *name, size_t len)
{
	return s->nhash ? *node_place(s, name, len) : NULL;
}

static void node_add(Parser *p, Node *n)
{
	Scenario *s = p->s;
	s->node = grow(p, s->node, s->nnode, &s->capnode, sizeof *s->node);
	s->node[s->nnode++] = n;
	if (s->nnode * 2 > s->nhash) {
		int nhash = s->nhash ? s->nhash * 2 : 64;
		Node **table = calloc((size_t)nhash, sizeof *table);
		if (!table)
			fail(p, p->at, "out of memory");
		free(s->by_name);
		s->by_name = table;
		s->nhash = nhash;
		for (int i = 0; i < s->nnode - 1; i++)
			*node_place(s, s->node[i]->name, strlen(s->node[i]->name)) = s->node[i];
	}
	*node_place(s, n->name, strlen(n->name)) = n;
}

static const Model *find_model(Parser *p, const char *at, const char *name)
{
	for (int i = 0; i < p->s->nmodel; i++)
		if (!strcmp(p->s->model[i]->name, name))
			return p->s->model[i];
	const Model *m = model_builtin(name);
	if (!m)
		fail(p, at, "unknown model \"%s\": use hgx-b200, gb200 or declare it with a model line before", name);
	return m;
}

static void seed_line(Parser *p)
{
	if (p->s->nnode)
		fail(p, p->line_at, "seed must stand before the first node");
	p->s->seed = (uint64_t)number(p, "seed", 0, INT64_MAX);
}

static void start_line(Parser *p)
{
	if (p->s->nnode)
		fail(p, p->line_at, "start must stand before the first node");
	p->start_now = more(p) && p->end - p->at >= 3 && !memcmp(p->at, "now", 3);
	if (p->start_now) {
		char word[WORD_MAX];
		const char *at = take_word(p, word, "start");
		if (strcmp(word, "now"))
			fail(p, at, "start: \"%s\" is not a time", word);
		p->s->start_us = wall_us() / 1000 * 1000;
		return;
	}
	if (more(p) && *p->at == '+')
		fail(p, p->at, "start: the start cannot be counted from itself");
	p->s->start_us = time_ms(p, "start") * 1000;
}

static void clock_line(Parser *p)
{
	char word[WORD_MAX];
	const char *at = take_word(p, word, "virtual or wall");
	if (p->s->nnode)
		fail(p, p->line_at, "clock must stand before the first node");
	if (strcmp(word, "wall") && strcmp(word, "virtual"))
		fail(p, at, "clock is virtual or wall, not \"%s\"", word);
	p->s->wall = !strcmp(word, "wall");
	if (p->s->wall && p->s->start_us < 0)
		p->s->start_us = wall_us() / 1000 * 1000;
}

static void model_line(Parser *p)
{
	char name[WORD_MAX], key[WORD_MAX], text[WORD_MAX];
	const char *at = take_name(p, name, "name of the model", 63);
	if (model_builtin(name))
		fail(p, at, "model %s is built in: choose another name", name);
	for (int i = 0; i < p->s->nmodel; i++)
		if (!strcmp(p->s->model[i]->name, name))
			fail(p, at, "model %s is declared twice", name);
	int cap = p->s->nmodel;
	Model *m = calloc(1, sizeof *m);
	if (!m)
		fail(p, at, "out of memory");
	p->s->model = grow(p, p->s->model, p->s->nmodel, &cap, sizeof *p->s->model);
	p->s->model[p->s->nmodel++] = m;
	*m = (Model){.arch = 9, .gpus = 8, .idle_mw = 50000, .limit_mw = 300000, .min_limit_mw = 100000, .mig_idle_mw = -1,
		.fb_mib = 16384, .sm_mhz = 1500, .mem_mhz = 1000, .pcie_gen = 3, .pci_device = 0x2000, .energy_counter = true,
		.power_instant = true, .mem_temp = true, .profiling = true};
	snprintf(m->title, sizeof m->title, "%.63s", name);
	snprintf(m->brand, sizeof m->brand, "Nvidia");
	bool first = true, profiling_set = false;
	while (more(p)) {
		at = take_key(p, key);
		if (!strcmp(key, "base") && first) {
			at = take_value(p, text, 63);
			*m = *find_model(p, at, text);
			profiling_set = true;
		} else if (!strcmp(key, "name"))
			take_value(p, text, 63), snprintf(m->title, sizeof m->title, "%.63s", text);
		else if (!strcmp(key, "brand"))
			take_value(p, text, 31), snprintf(m->brand, sizeof m->brand, "%.31s", text);
		else if (!strcmp(key, "arch"))
			m->arch = (int)value_int(p, 1, 32);
		else if (!strcmp(key, "gpus"))
			m->gpus = (int)value_int(p, 1, MAX_GPUS);
		else if (!strcmp(key, "idle_w"))
			m->idle_mw = value_milli(p, 1, 100000);
		else if (!strcmp(key, "limit_w"))
			m->limit_mw = value_milli(p, 10, 100000);
		else if (!strcmp(key, "min_limit_w"))
			m->min_limit_mw = value_milli(p, 1, 100000);
		else if (!strcmp(key, "mig_idle_w"))
			m->mig_idle_mw = value_milli(p, 0, 100000);
		else if (!strcmp(key, "fb_mib"))
			m->fb_mib = value_int(p, 1, 1 << 30);
		else if (!strcmp(key, "sm_mhz"))
			m->sm_mhz = (int)value_int(p, 1, 100000);
		else if (!strcmp(key, "mem_mhz"))
			m->mem_mhz = (int)value_int(p, 1, 100000);
		else if (!strcmp(key, "pcie_gen"))
			m->pcie_gen = (int)value_int(p, 1, 9);
		else if (!strcmp(key, "nvlinks"))
			m->nvlinks = (int)value_int(p, 0, 36);
		else if (!strcmp(key, "energy_counter"))
			m->energy_counter = value_int(p, 0, 1);
		else if (!strcmp(key, "power_instant"))
			m->power_instant = value_int(p, 0, 1);
		else if (!strcmp(key, "mem_temp"))
			m->mem_temp = value_int(p, 0, 1);
		else if (!strcmp(key, "profiling"))
			m->profiling = value_int(p, 0, 1), profiling_set = true;
		else
			fail(p, at, "unknown key \"%s\" of a model%s", key, !strcmp(key, "base") ? ": base must be the first" : "");
		first = false;
	}
	snprintf(m->name, sizeof m->name, "%.63s", name);
	if (m->limit_mw <= m->idle_mw)
		fail(p, p->line_at, "limit_w of model %s must be above its idle_w", name);
	if (m->mig_idle_mw < 0)
		m->mig_idle_mw = m->idle_mw;
	if (!profiling_set)
		m->profiling = m->arch >= 5; /* Volta */
	static const int capability[] = {0, 0, 0x30005, 0x50002, 0x60000, 0x70000, 0x70005, 0x80000, 0x80009, 0x90000, 0xa0000};
	m->compute_capability = m->arch <= 10 ? capability[m->arch] : 0xc0000;
}

static void node_line(Parser *p)
{
	char name[WORD_MAX], word[WORD_MAX], key[WORD_MAX];
	const char *at = take_name(p, name, "name of the node", 100);
	if (scenario_node(p->s, name, strlen(name)))
		fail(p, at, "node %s is declared twice", name);
	if (p->s->start_us < 0)
		fail(p, p->line_at, "a node needs a line \"start T_US\" (or \"clock wall\") before it");
	if (p->start_now && !p->s->wall)
		fail(p, p->line_at, "start now needs the line \"clock wall\" before the first node: a virtual play begins at the same time each time");
	at = take_word(p, word, "model of the node");
	const char *model = word;
	if (!strncmp(word, "model=", 6))
		model += 6, at += 6;
	const Model *m = find_model(p, at, model);
	int gpus = m->gpus;
	while (more(p)) {
		at = take_key(p, key);
		if (strcmp(key, "gpus"))
			fail(p, at, "unknown key \"%s\" of a node: only gpus", key);
		at = p->at;
		gpus = (int)value_int(p, 1, MAX_GPUS);
		if (m->cpus && gpus % m->cpus)
			fail(p, at, "%d GPUs cannot be shared evenly by %d CPUs", gpus, m->cpus);
	}
	Node *n = calloc(1, sizeof *n);
	if (!n || !(n->dev = calloc((size_t)(gpus + m->cpus), sizeof *n->dev))) {
		free(n);
		fail(p, p->line_at, "out of memory");
	}
	pthread_mutex_init(&n->mu, NULL);
	pthread_cond_init(&n->moved, NULL);
	n->scenario = p->s;
	n->model = m;
	n->ngpu = gpus;
	n->ncpu = m->cpus;
	memcpy(n->name, name, strlen(name) + 1);
	node_add(p, n);
	scenario_devices(n);
}

static void gpu_line(Parser *p)
{
	char key[WORD_MAX], text[WORD_MAX];
	Device *d = take_device(p, NULL, false);
	while (more(p)) {
		const char *at = take_key(p, key);
		const char *vat = take_value(p, text, 63);
		if (!strcmp(key, "uuid")) {
			if (strncmp(text, "GPU-", 4))
				fail(p, vat, "the UUID of a GPU begins with GPU-");
			snprintf(d->uuid, sizeof d->uuid, "%.63s", text);
		} else if (!strcmp(key, "serial"))
			snprintf(d->serial, sizeof d->serial, "%.31s", text);
		else
			fail(p, at, "unknown key \"%s\" of a gpu: use uuid or serial", key);
	}
}

static void series_line(Parser *p)
{
	char name[WORD_MAX];
	const char *at = take_name(p, name, "name of the series", 100);
	Scenario *s = p->s;
	if (find_series(p, name))
		fail(p, at, "series %s is declared twice", name);
	s->series = grow(p, s->series, s->nseries, &s->capseries, sizeof *s->series);
	Series *x = calloc(1, sizeof *x);
	if (!x || !(x->name = strdup(name))) {
		free(x);
		fail(p, at, "out of memory");
	}
	s->series[s->nseries++] = x;
	x->start_ms = time_ms(p, "start of the series");
	skip_space(p);
	at = p->at;
	x->step_ms = number(p, "step of the series", 0, TIME_MAX_US);
	if (x->step_ms % 1000)
		fail(p, at, "step of the series: %lld µs is not a whole number of milliseconds", (long long)x->step_ms);
	x->step_ms /= 1000;
	if (x->step_ms < 1)
		fail(p, p->line_at, "the step of a series must be at least 1000 µs");
	int cap = 0;
	do {
		x->u = grow(p, x->u, (int)x->n, &cap, sizeof *x->u);
		x->u[x->n++] = (int32_t)decimal(p, "utilisation from 0 to 1", 6, PPM);
	} while (more(p));
	if (x->n > NEVER / 4 / x->step_ms)
		fail(p, p->line_at, "the series is too long");
	series_index(p, x);
}

static const struct {
	const char *word;
	void (*read)(Parser *);
} statements[] = {
	{"seed", seed_line}, {"start", start_line}, {"clock", clock_line}, {"model", model_line}, {"node", node_line}, {"gpu", gpu_line},
	{"mig", mig_line}, {"series", series_line}, {"load", load_line}, {"boot", power_line}, {"end", power_line}, {"reset", reset_line},
	{"restart", restart_line}, {"lost", lost_line}, {"missing", fault_line}, {"stuck", fault_line}, {"xid", xid_line}, {"mark", mark_line},
	{"repartition", repartition_line}, {"driver", driver_line}, {"blank", blank_line}, {"forbid", forbid_line}, {"hang", delay_line},
	{"slow", delay_line}, {"clockback", clockback_line}, {"skew", skew_line}, {"shuffle", skew_line}, {"switches", switches_line},
	{"sxid", sxid_line}, {"fatal", fatal_line}, {"plug", plug_line},
};

static void read_line(Parser *p)
{
	char word[WORD_MAX];
	const char *at = take_word(p, word, "statement");
	p->statement = word;
	for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
		if (strcmp(word, statements[i].word))
			continue;
		statements[i].read(p);
		if (more(p))
			fail(p, p->at, "nothing more was expected on this line");
		return;
	}
	fail(p, at, "unknown statement \"%s\"", word);
}

Scenario *scenario_parse(const char *text, int64_t len, char *err, size_t errlen)
{
	Parser p = {.text = text, .limit = text + len, .err = err, .errlen = errlen};
	if (errlen)
		*err = 0;
	p.s = calloc(1, sizeof *p.s);
	if (!p.s)
		return NULL;
	Scenario *volatile s = p.s; /* survives longjmp */
	p.s->refs = 1;
	p.s->seed = 1;
	p.s->start_us = -1;
	if (setjmp(p.bail)) {
		parser_free(&p);
		scenario_free(s);
		return NULL;
	}
	for (const char *line = text; line < p.limit;) {
		const char *nl = memchr(line, '\n', (size_t)(p.limit - line));
		p.end = nl ? nl : p.limit;
		p.line_at = p.at = line;
		p.line++;
		if (more(&p))
			read_line(&p);
		line = p.end + 1;
	}
	p.line_at = p.at = p.limit;
	p.line++;
	if (!p.s->nnode)
		fail(&p, p.at, "the scenario has no node");
	scenario_finish(&p);
	parser_free(&p);
	return s;
}
