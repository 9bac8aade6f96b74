# Prints what a kernel log has to complain about, and exits with 1 if that is anything.
# Reports between "vm: expect REGEX" and "vm: expected" are fine if REGEX is among their lines, and only then.

function report(line) {
	if (expecting)
		held = held line "\n"
	else
		print line
}

BEGIN {
	trouble = "WARNING:|BUG:|BUG at|KASAN:|UBSAN:|ODEBUG:|Oops|Kernel panic|general protection fault|Call Trace:" \
		"|possible (circular|recursive|irq|deadlock)|inconsistent lock state|suspicious RCU|lock held|bad unlock" \
		"|INFO: task .* blocked|INFO: rcu|rcu: .*(stall|starved)|soft lockup|sleeping function|refcount_t:" \
		"|corruption|kmemleak: [0-9]+ new|nobody cared|Bad page|usercopy:|unable to handle"
}

/vm: expect / {
	expecting = 1
	seen = 0
	held = ""
	regex = $0
	sub(/.*vm: expect /, "", regex)
	next
}
/vm: expected$/ {
	if (!seen) {
		printf "%sexpected in the kernel log, but not there: %s\n", held, regex
		bad = 1
	}
	expecting = 0
	next
}
expecting && $0 ~ regex { seen = 1 }
$0 ~ trouble { left = 40; if (!expecting) bad = 1 }
/vm: / { left = 0 }
# What the stack happens to hold, which is most of a trace of User Mode Linux
/\] \? / { next }
left > 0 { report($0); left-- }

END {
	if (expecting) {
		printf "%sexpected in the kernel log until the end: %s\n", held, regex
		bad = 1
	}
	exit bad
}
