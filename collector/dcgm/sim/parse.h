/* parse.h: the reader of scenario lines, shared by scenario.c, events.c and parse.c. */
#ifndef WLSIM_PARSE_H
#define WLSIM_PARSE_H

#include "wlsim.h"

#include <setjmp.h>

enum { WORD_MAX = 256 };

#define TIME_MAX_US INT64_C(4102444800000000) /* the year 2100 */

typedef struct {
	const char *text, *limit, *end; /* all, its end, end of the line */
	const char *line_at, *at;
	const char *statement;
	int line;
	bool start_now;
	Scenario *s;
	char *err;
	size_t errlen;
	jmp_buf bail;
	Series **hash; /* series by name */
	int nhash;
} Parser;

#pragma GCC visibility push(hidden)

void fail(Parser *p, const char *at, const char *fmt, ...) __attribute__((format(printf, 3, 4), noreturn));
void *grow(Parser *p, void *list, int n, int *cap, size_t size);
void skip_space(Parser *p);
bool more(Parser *p); /* something other than a comment follows on this line */
const char *take_word(Parser *p, char *out, const char *what);
const char *take_name(Parser *p, char *out, const char *what, int max);
const char *take_key(Parser *p, char *out); /* "key=", leaves at on the value */
const char *take_value(Parser *p, char *out, int max);
int64_t number(Parser *p, const char *what, int64_t lo, int64_t hi);
int64_t decimal(Parser *p, const char *what, int digits, int64_t hi);
int64_t value_int(Parser *p, int64_t lo, int64_t hi);
int64_t value_milli(Parser *p, int64_t lo, int64_t hi);
int64_t time_us(Parser *p, const char *what); /* absolute, or +N after the start */
int64_t time_ms(Parser *p, const char *what);
Node *take_node(Parser *p);
Device *take_device(Parser *p, int *instance, bool cpu_too);
Series *find_series(Parser *p, const char *name);
void series_index(Parser *p, Series *x);
void parser_free(Parser *p);

/* events.c */
void load_line(Parser *p);
void power_line(Parser *p);
void reset_line(Parser *p);
void lost_line(Parser *p);
void restart_line(Parser *p);
void xid_line(Parser *p);
void mark_line(Parser *p);
void add_time(Parser *p, int64_t **list, int *n, int64_t t);
void add_event(Parser *p, Events *to, Event x);
void scenario_devices(Node *n);
void scenario_finish(Parser *p);

/* mig.c */
void mig_line(Parser *p);
void repartition_line(Parser *p);

/* mishap.c */
void fault_line(Parser *p);
void blank_line(Parser *p);
void forbid_line(Parser *p);
void delay_line(Parser *p);
void driver_line(Parser *p);
void clockback_line(Parser *p);
void skew_line(Parser *p);
void switches_line(Parser *p);
void sxid_line(Parser *p);
void fatal_line(Parser *p);
void plug_line(Parser *p);
void mishaps_finish(Node *n);
void mishaps_free(Node *n);

#pragma GCC visibility pop

#endif
