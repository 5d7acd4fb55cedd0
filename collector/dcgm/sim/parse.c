/* parse.c: words and numbers of a scenario line. */
#include "parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fail(Parser *p, const char *at, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	snprintf(p->err, p->errlen, "line %d, column %d: %s", p->line, (int)(at - p->line_at) + 1, text);
	longjmp(p->bail, 1);
}

/* grow makes room for one more element; the caller stores the result before anything can fail. */
void *grow(Parser *p, void *list, int n, int *cap, size_t size)
{
	if (n < *cap)
		return list;
	int want = *cap < 4 ? 4 : *cap * 2;
	if (want <= n)
		want = n + 4;
	void *q = realloc(list, (size_t)want * size);
	if (!q)
		fail(p, p->at, "out of memory");
	*cap = want;
	return q;
}

void skip_space(Parser *p)
{
	while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\r'))
		p->at++;
}

bool more(Parser *p)
{
	skip_space(p);
	return p->at < p->end && *p->at != '#';
}

static bool in_word(char c)
{
	return c != ' ' && c != '\t' && c != '\r' && c != '#';
}

const char *take_word(Parser *p, char *out, const char *what)
{
	if (!more(p))
		fail(p, p->at, "missing: %s", what);
	const char *at = p->at;
	int n = 0;
	while (p->at < p->end && in_word(*p->at)) {
		if (n == WORD_MAX - 1 || !*p->at)
			fail(p, at, *p->at ? "word too long: %s" : "a zero byte in: %s", what);
		out[n++] = *p->at++;
	}
	out[n] = 0;
	return at;
}

const char *take_name(Parser *p, char *out, const char *what, int max)
{
	const char *at = take_word(p, out, what);
	for (const char *c = out; *c; c++)
		if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || strchr("._-", *c)))
			fail(p, at + (c - out), "the %s may hold letters, digits and . _ - only", what);
	if ((int)strlen(out) > max)
		fail(p, at, "the %s is longer than %d bytes", what, max);
	return at;
}

const char *take_key(Parser *p, char *out)
{
	skip_space(p);
	const char *at = p->at;
	int n = 0;
	while (p->at < p->end && *p->at != '=') {
		if (!((*p->at >= 'a' && *p->at <= 'z') || *p->at == '_') || n == 32)
			fail(p, at, "expected key=value");
		out[n++] = *p->at++;
	}
	out[n] = 0;
	if (p->at == p->end || !n)
		fail(p, at, "expected key=value");
	p->at++;
	return at;
}

const char *take_value(Parser *p, char *out, int max)
{
	const char *at = p->at;
	int n = 0;
	bool quoted = at < p->end && *at == '"';
	if (quoted)
		p->at++;
	while (p->at < p->end && (quoted ? *p->at != '"' : in_word(*p->at))) {
		if (n == max || (unsigned char)*p->at < ' ')
			fail(p, at, n == max ? "the value is longer than %d bytes" : "a control character in the value", max);
		out[n++] = *p->at++;
	}
	out[n] = 0;
	if (quoted && p->at++ == p->end) {
		p->at = p->end;
		fail(p, at, "the closing quote is missing");
	}
	if (!n)
		fail(p, at, "the value is empty");
	return at;
}

int64_t number(Parser *p, const char *what, int64_t lo, int64_t hi)
{
	char word[WORD_MAX];
	const char *at = take_word(p, word, what);
	int64_t v = 0;
	for (const char *c = word; *c; c++) {
		if (*c < '0' || *c > '9')
			fail(p, at, "%s: \"%s\" is not a whole number", what, word);
		if (v > (INT64_MAX - 9) / 10)
			fail(p, at, "%s: %s is too large", what, word);
		v = v * 10 + (*c - '0');
	}
	if (v < lo || v > hi)
		fail(p, at, "%s: %s is not between %lld and %lld", what, word, (long long)lo, (long long)hi);
	return v;
}

/* decimal reads a number with a point as a whole number of 10^-digits, at most hi of them; finer digits are rounded. */
static int64_t decimal_of(Parser *p, const char *at, const char *word, const char *what, int digits, int64_t hi)
{
	int64_t v = 0;
	int frac = -1, seen = 0, half = 0;
	for (const char *c = word; *c; c++) {
		if (*c == '.' && frac < 0) {
			frac = 0;
			continue;
		}
		if (*c < '0' || *c > '9')
			fail(p, at, "%s: \"%s\" is not a number", what, word);
		seen = 1;
		if (frac == digits) {
			half = *c >= '5';
			frac++;
		} else if (frac < digits) {
			if (v > (INT64_MAX - 9) / 10)
				fail(p, at, "%s: %s is too large", what, word);
			v = v * 10 + (*c - '0');
			frac += frac >= 0;
		}
	}
	if (!seen)
		fail(p, at, "%s: \"%s\" is not a number", what, word);
	for (int i = frac < 0 ? 0 : frac; i < digits; i++) {
		if (v > INT64_MAX / 10)
			fail(p, at, "%s: %s is too large", what, word);
		v *= 10;
	}
	v += half;
	if (v > hi)
		fail(p, at, "%s: %s is too large", what, word);
	return v;
}

int64_t decimal(Parser *p, const char *what, int digits, int64_t hi)
{
	char word[WORD_MAX];
	const char *at = take_word(p, word, what);
	return decimal_of(p, at, word, what, digits, hi);
}

int64_t value_int(Parser *p, int64_t lo, int64_t hi)
{
	if (p->at == p->end || !in_word(*p->at))
		fail(p, p->at, "the value is empty");
	return number(p, "value", lo, hi);
}

/* value_milli reads watts as milliwatts. */
int64_t value_milli(Parser *p, int64_t lo, int64_t hi)
{
	if (p->at == p->end || !in_word(*p->at))
		fail(p, p->at, "the value is empty");
	const char *at = p->at;
	int64_t v = decimal(p, "value", 3, hi * 1000);
	if (v < lo * 1000)
		fail(p, at, "the value is below %lld", (long long)lo);
	return v;
}

/* offset reads +5s, +250ms and the like as the µs since the start of the scenario. */
static int64_t offset(Parser *p, const char *what)
{
	static const struct {
		const char *unit;
		int digits; /* of the number after its point that are whole µs */
		int64_t us;
	} units[] = {{"us", 0, 1}, {"ms", 3, 1}, {"s", 6, 1}, {"m", 6, 60}, {"h", 6, 3600}, {"d", 6, 86400}, {"", 6, 1}};
	char word[WORD_MAX], *unit = word + 1;
	const char *at = take_word(p, word, what);
	while (*unit && strchr("0123456789.", *unit))
		unit++;
	size_t i = 0, n = sizeof units / sizeof units[0];
	while (i < n && strcmp(unit, units[i].unit))
		i++;
	if (i == n)
		fail(p, at + (unit - word), "%s: unknown unit \"%s\": use us, ms, s, m, h or d", what, unit);
	if (p->s->start_us < 0)
		fail(p, at, "%s: a time after the start needs a line \"start T_US\" (or \"clock wall\") before it", what);
	*unit = 0;
	return decimal_of(p, at, word + 1, what, units[i].digits, TIME_MAX_US / units[i].us) * units[i].us;
}

int64_t time_us(Parser *p, const char *what)
{
	skip_space(p);
	const char *at = p->at;
	if (at == p->end || *at != '+')
		return number(p, what, 0, TIME_MAX_US);
	int64_t us = p->s->start_us + offset(p, what);
	if (us > TIME_MAX_US)
		fail(p, at, "%s: the time lies after the year 2100", what);
	return us;
}

int64_t time_ms(Parser *p, const char *what)
{
	skip_space(p);
	const char *at = p->at;
	int64_t us = time_us(p, what);
	if (us % 1000)
		fail(p, at, "%s: %lld µs is not a whole number of milliseconds", what, (long long)us);
	return us / 1000;
}

Node *take_node(Parser *p)
{
	char name[WORD_MAX];
	const char *at = take_word(p, name, "name of a node");
	Node *n = scenario_node(p->s, name, strlen(name));
	if (!n)
		fail(p, at, "unknown node \"%s\": declare it with a node line before", name);
	return n;
}

/* take_device reads NODE GPU, NODE GPU.INSTANCE where instance is not NULL, or NODE cpuN where cpu_too. */
Device *take_device(Parser *p, int *instance, bool cpu_too)
{
	Node *n = take_node(p);
	char word[WORD_MAX];
	const char *at = take_word(p, word, "index of the GPU");
	bool cpu = !strncmp(word, "cpu", 3);
	if (cpu && (!cpu_too || !n->ncpu))
		fail(p, at, cpu_too ? "node %s has no CPUs that can be watched" : "only GPUs of node %s can stand here", n->name);
	char *c = word + (cpu ? 3 : 0);
	int64_t index = 0, part = 0;
	char *digits = c;
	for (; *c >= '0' && *c <= '9' && index < 1000; c++)
		index = index * 10 + (*c - '0');
	bool dotted = *c == '.' && instance && c > digits;
	if (c == digits || (*c && !dotted))
		fail(p, at, "\"%s\" is not the index of a GPU%s", word, instance ? " (or GPU.INSTANCE)" : "");
	if (index >= (cpu ? n->ncpu : n->ngpu))
		fail(p, at, "node %s has %d %s, counted from 0", n->name, cpu ? n->ncpu : n->ngpu, cpu ? "CPUs" : "GPUs");
	Device *d = &n->dev[cpu ? n->ngpu + index : index];
	if (!instance)
		return d;
	*instance = -1;
	if (!dotted && d->ninst)
		fail(p, at, "GPU %d of node %s is in MIG mode: name an instance, GPU.INSTANCE", d->index, n->name);
	if (!dotted)
		return d;
	for (digits = ++c; *c >= '0' && *c <= '9' && part < 1000; c++)
		part = part * 10 + (*c - '0');
	if (c == digits || *c || part >= d->ninst)
		fail(p, at, "GPU %d of node %s has %d instances, counted from 0", d->index, n->name, d->ninst);
	*instance = (int)part;
	return d;
}

static Series **series_place(Parser *p, const char *name)
{
	for (uint64_t i = derive(0, name, "series", 0, -1);; i++) {
		Series **x = &p->hash[i & (uint64_t)(p->nhash - 1)];
		if (!*x || !strcmp((*x)->name, name))
			return x;
	}
}

Series *find_series(Parser *p, const char *name)
{
	return p->nhash ? *series_place(p, name) : NULL;
}

void series_index(Parser *p, Series *x)
{
	if (p->s->nseries * 2 > p->nhash) {
		int n = p->nhash ? p->nhash * 2 : 64;
		Series **table = calloc((size_t)n, sizeof *table);
		if (!table)
			fail(p, p->at, "out of memory");
		free(p->hash);
		p->hash = table;
		p->nhash = n;
		for (int i = 0; i < p->s->nseries - 1; i++)
			*series_place(p, p->s->series[i]->name) = p->s->series[i];
	}
	*series_place(p, x->name) = x;
}

void parser_free(Parser *p)
{
	free(p->hash);
}
