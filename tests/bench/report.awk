# Judges what `guest` measured: prints a table, and writes JSON to the file `json`. Exits with 1 if anything is not ok.
#
# A round measures each device once, so it gives one ratio for each pair of devices. Of a comparison of V and its peer P,
# with P's twin Pb, which has the same table:
#
#   ratio   the median of the rounds' V / P
#   spread  how far from 1 the median of Pb / P may be: the farther end of that median's 95 % confidence interval, by
#           order statistics, so that nothing is supposed about how the ratios are distributed
#   ok      the ratio reaches the bar by itself
#   ok~     it reaches bar * (1 - spread), as printed: a device as slow as the bar could look like this
#   MISS    it does not
#   n/m     not measurable here: the spread is above 5 %
#   missing could not be measured, as there is no such device: as bad as a MISS

BEGIN {
	NAMES = split("raw L1 V1 V5 L5 S VS", names, " ")
	CMPS = split("V1/L1 V5/L1 V5/L5 VS/S", cmps, " ")
	CRYPT_NAMES = split("B C CN VC", crypt_names, " ")
	CRYPT_CMPS = split("VC/C VC/CN VC/B", crypt_cmps, " ")
	PR_NAMES = split("W P", pr_names, " ")
	PR_CMPS = split("P/W", pr_cmps, " ")
	FILE_NAMES = split("F LD LB VF", file_names, " ")
	FILE_CMPS = split("VF/LD VF/LB VF/F", file_cmps, " ")
	BLOB_NAMES = split("N U H1 HB HU", blob_names, " ")
	BLOB_CMPS = split("HB/N HU/N HB/U HU/U H1/U", blob_cmps, " ")
	LAYER_NAMES = split("D O SP SN TH CL", layer_names, " ")
	LAYER_CMPS = split("O/D O/SP O/TH O/SN O/CL", layer_cmps, " ")
	PRESENT_NAMES = split("CB CH", present_names, " ")
	PRESENT_CMPS = split("CH/CB", present_cmps, " ")
	MIN_PAIRS = 9
	MAX_SPREAD = 0.05
	ROUNDING = 0.0005
}

# Of crypt, queue is the cipher and the sector size. A hop to another CPU and back is a part of every bio of the default C, which
# shows when they come one by one. CN has none, as little as VC; without the cipher's time what is left is the machinery.
function crypt_bar_of(what, queue, row,    new) {
	if (what == "VC/C")
		return row ~ /4k depth 1$/ ? 4 : 1
	if (what != "VC/CN")
		return 0
	if (queue !~ /^free/)
		return 1
	new = kernel !~ /^6/
	return row ~ /read/ ? (new ? 1.12 : 1.2) : (new ? 1.05 : 1.1)
}

# Of file, against a loop device that goes past the page cache as well.
function file_bar_of(what, source, row) {
	if (what != "VF/LD")
		return 0
	if (row ~ /read/)
		return row ~ /4k depth 1$/ ? (source == "gen" ? 4 : 3) : (source == "gen" ? 1.2 : 1)
	return row ~ /4k depth 1$/ ? 1.2 : 0.95
}

# Of blob, against servers that have the bytes in memory as well. What is fetched at once is copied more than it is anything else, and
# ublk's copy is another one; a fill is copied twice.
function blob_bar_of(what, row) {
	if (what ~ /^H[BU].N$/)
		return 3
	return what ~ /^H[BU].U$/ && row ~ /4k/ ? 1 : 0
}

# Of layers, against a disk where there is nothing to be found out first, and against others where there is.
function layer_bar_of(what, row) {
	if (row ~ /^first/)
		return row ~ /128k/ ? 0 : what == "O/SP" ? 3 : what == "O/TH" ? 1 : 0
	return row ~ /^present .* depth/ && row !~ /flushed/ && what == "O/D" ? 0.95 : 0
}

# What a table is about: crypt, file, pr, blob, layer, present, or "", all else
function about(queue) {
	return queue ~ /^(real|free)/ ? "crypt" : queue ~ /^(ext4|xfs)$/ ? "file" : queue ~ /^blob/ ? "blob" : \
		queue ~ /^present/ ? "present" : queue ~ /^layer/ ? "layer" : queue ~ /^pr/ ? "pr" : ""
}

function bar_of(what, source, queue, row) {
	if (about(queue) == "crypt")
		return crypt_bar_of(what, queue, row)
	if (what == "P/W")
		return 0.99
	if (about(queue) == "file")
		return file_bar_of(what, source, row)
	if (about(queue) == "blob")
		return blob_bar_of(what, row)
	if (about(queue) == "layer")
		return layer_bar_of(what, row)
	if (about(queue) == "present")
		return 1
	if (what == "V1/L1")
		return 0.97
	if (what == "V5/L1")
		return 0.95
	if (what == "VS/S")
		return 0.98
	# Where the device itself takes longer, one dm-linear is not 2.2 times as fast as five, so nothing can be.
	if (source == "gen")
		return row ~ /128k/ ? 0 : 2.2
	return row ~ /^io_uring .* depth 32$/ ? 1.6 : 0
}

# Shell's: a generator's row has a thousand rounds.
function sort(a, n,    gap, i, j, v) {
	for (gap = 1093; gap; gap = int(gap / 3))
		for (i = gap + 1; i <= n; i++) {
			v = a[i]
			for (j = i - gap; j > 0 && a[j] > v; j -= gap)
				a[j + gap] = a[j]
			a[j + gap] = v
		}
}

function median(a, n) { return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2 }

# The rank from either end that bounds a 95 % confidence interval of the median of n.
function rank(n,    i, k, p, tail) {
	p = 1
	for (i = 1; i <= n; i++)
		p /= 2
	for (k = 0; tail + p <= 0.025; k++) {
		tail += p
		p *= (n - k) / (k + 1)
	}
	return k
}

# ratios(KEY, A, B): fills R with the sorted ratios of all rounds, and returns how many there are.
function ratios(key, a, b,    round, n) {
	for (round = 1; round <= rounds[key]; round++)
		if ((key, a, round) in rate && (key, b, round) in rate && rate[key, b, round] > 0)
			R[++n] = rate[key, a, round] / rate[key, b, round]
	sort(R, n)
	return n + 0
}

function iops(key, name,    round, n, a) {
	for (round = 1; round <= rounds[key]; round++)
		if ((key, name, round) in rate)
			a[++n] = rate[key, name, round]
	sort(a, n)
	return n ? median(a, n) : 0
}

function off(x) { return x > 1 ? x - 1 : 1 - x }

# choose(ABOUT): which columns a table has: name[], cmp[].
function choose(what) {
	if (what == "crypt")
		columns(crypt_names, CRYPT_NAMES, crypt_cmps, CRYPT_CMPS)
	else if (what == "file")
		columns(file_names, FILE_NAMES, file_cmps, FILE_CMPS)
	else if (what == "pr")
		columns(pr_names, PR_NAMES, pr_cmps, PR_CMPS)
	else if (what == "blob")
		columns(blob_names, BLOB_NAMES, blob_cmps, BLOB_CMPS)
	else if (what == "layer")
		columns(layer_names, LAYER_NAMES, layer_cmps, LAYER_CMPS)
	else if (what == "present")
		columns(present_names, PRESENT_NAMES, present_cmps, PRESENT_CMPS)
	else
		columns(names, NAMES, cmps, CMPS)
}

function columns(these_names, n, these_cmps, m,    j) {
	nr_names = n
	for (j = 1; j <= n; j++)
		name[j] = these_names[j]
	nr_cmps = m
	for (j = 1; j <= m; j++)
		cmp[j] = these_cmps[j]
}

# compare(KEY, CMP): sets the globals that a cell and the JSON show; false if there is nothing to compare.
function compare(key, what,    part, twins, k) {
	split(what, part, "/")
	pairs = ratios(key, part[1], part[2])
	bar = bar_of(what, source[key], queue[key], row[key])
	spread = -1
	verdict = about(queue[key]) && bar ? "missing" : "-"
	if (!pairs)
		return 0
	ratio = median(R, pairs)
	k = rank(pairs)
	low = k ? R[k] : 0
	high = k ? R[pairs + 1 - k] : 0

	verdict = "-"
	twins = ratios(key, part[2] "b", part[2])
	k = rank(twins)
	if (!twins)
		return 1
	peer_median = median(R, twins)
	spread = 1
	if (k)
		spread = off(R[k]) > off(R[twins + 1 - k]) ? off(R[k]) : off(R[twins + 1 - k])
	if (!bar)
		return 1
	if (pairs < MIN_PAIRS || twins < MIN_PAIRS || spread > MAX_SPREAD)
		verdict = "n/m"
	else if (ratio >= bar)
		verdict = "ok"
	else
		verdict = ratio >= bar * (1 - spread) - ROUNDING ? "ok~" : "MISS"
	return 1
}

function quote(s) {
	gsub(/\\/, "\\\\", s)
	gsub(/"/, "\\\"", s)
	return "\"" s "\""
}

$1 == "info" {
	key = $2
	sub(/^info [^ ]+ /, "")
	infos[++nr_infos] = key
	info[key] = $0
	next
}

$1 == "gen" || $1 == "fio" {
	n = 0
	for (i = 4; i <= NF && $i ~ /=/; i++)
		found[++n] = $i
	text = $i
	for (i++; i <= NF; i++)
		text = text " " $i
	key = $1 SUBSEP $2 SUBSEP text
	if (!(key in rounds)) {
		keys[++nr_keys] = key
		source[key] = $1
		queue[key] = $2
		row[key] = text
	}
	if ($3 > rounds[key])
		rounds[key] = $3
	for (i = 1; i <= n; i++) {
		split(found[i], value, "=")
		rate[key, value[1], $3] = value[2]
	}
	next
}

# What was counted is exact: there is no spread.
$1 == "count" {
	count_queue[++nr_counts] = $2
	count[nr_counts] = $3
	count_bar[nr_counts] = $4
	sub(/^count [^ ]+ [^ ]+ [^ ]+ /, "")
	count_what[nr_counts] = $0
	next
}

/^(not )?ok / { allocs[++nr_allocs] = $0 }

END {
	printf("{\n  \"kernel\": %s,\n  \"machine\": %s,\n", quote(kernel), quote(machine)) >json
	for (i = 1; i <= nr_infos; i++)
		printf("  %s: %s,\n", quote(infos[i]), quote(info[infos[i]])) >json
	printf("  \"rows\": [") >json

	printf "\n%s: Linux %s, %s CPUs, %s, %s\n", kernel, info["release"], info["cpus"], machine, info["fio"]
	if (info["cmdline"] ~ /clearcpuid=/)
		print "clearcpuid=erms,fsrm: without it, an emulated CPU copies slower by far than a real one"
	if ("missing" in info)
		print "not measured: " info["missing"]
	print "\nraw: null_blk; L1: dm-linear; L5: a chain of five; V1: vdisk block; V5: vdisk, five nodes deep; S: dm-stripe over two;"
	print "VS: vdisk striped. Of crypt, with sectors of 512 or 4096 bytes, and the real cipher or one that is free: C: dm-crypt as"
	print "cryptsetup sets it up; CN: without its queues; VC: vdisk crypt; B: the bare cipher, of one processor. Of pr,"
	print "with 1 or 100 registrants: W: a stack without it; P: with it."
	print "Of blob, from memory, the processor copying by words, or (blob*erms*) as it says it does best: N: nbdkit; U: ublk; H1: blob with"
	print "a helper that answers one request a call; HB: many; HU: by io_uring; fill: of H*, a cache above that is empty. Of present:"
	print "CB: a cache that has all, over a disk; CH: over blob."
	print "Of layer, over a base, all on null_blk with memory that has a cache to be flushed: D: a disk; O: vdisk overlay; SP, SN: dm-snapshot,"
	print "persistent or not; TH: dm-thin, the base its external origin; CL: dm-clone."
	print "Of file, on null_blk with memory: F: the file itself; LD: a loop device with direct I/O; LB: one without; VF: vdisk file."
	print "Thousands of IOPS, then ratios, each with the peer's spread against itself and the verdict."
	for (i = 1; i <= nr_keys; i++) {
		key = keys[i]
		group = source[key] == "gen" ? "generator on " : "fio on "
		group = group queue[key] " " (about(queue[key]) ? about(queue[key]) : "null_blk")
		# A bar may change from row to row.
		if (group != last_group || about(queue[key])) {
			choose(about(queue[key]))
			bars = ""
			for (j = 1; j <= nr_cmps; j++) {
				bar = bar_of(cmp[j], source[key], queue[key], row[key])
				bars = bars sprintf("  %-18s", cmp[j] (bar ? " >= " bar : ""))
			}
		}
		if (group != last_group || bars != last_bars) {
			printf "\n%-31s", group
			for (j = 1; j <= nr_names; j++)
				printf " %6s", name[j]
			print bars
			last_bars = bars
			last_group = group
		}
		printf "%-31s", row[key]
		printf("%s\n    {\"source\": %s, \"queue\": %s, \"row\": %s,\n      \"iops\": {", i > 1 ? "," : "", \
			quote(source[key]), quote(queue[key]), quote(row[key])) >json
		first = 1
		for (j = 1; j <= nr_names; j++) {
			n = iops(key, name[j])
			printf "%s", n ? sprintf(" %6.1f", n / 1000) : "      -"
			if (n)
				printf("%s%s: %.0f", first ? "" : ", ", quote(name[j]), n) >json
			if (n)
				first = 0
		}
		printf("},\n      \"comparisons\": [") >json
		first = 1
		for (j = 1; j <= nr_cmps; j++) {
			if (!compare(key, cmp[j])) {
				printf "  %-18s", verdict
				if (verdict != "-")
					tally[verdict]++
				continue
			}
			if (spread >= 0)
				cell = sprintf("%.3f +-%.1f%% %s", ratio, 100 * spread, verdict == "-" ? "" : verdict)
			else
				cell = sprintf("%.3f", ratio)
			printf "  %-18s", cell
			if (verdict != "-")
				tally[verdict]++
			printf("%s\n        {\"name\": %s, \"pairs\": %d, \"ratio\": %.4f, \"low\": %.4f, \"high\": %.4f", \
				first ? "" : ",", quote(cmp[j]), pairs, ratio, low, high) >json
			if (spread >= 0)
				printf(", \"peer_ratio\": %.4f, \"spread\": %.4f", peer_median, spread) >json
			if (bar)
				printf(", \"bar\": %s, \"verdict\": %s", bar, quote(verdict)) >json
			printf("}") >json
			first = 0
		}
		print ""
		printf("]}") >json
	}
	printf("],\n  \"requests\": [") >json
	if (nr_counts)
		print "\nrequests that a helper gets per read"
	for (i = 1; i <= nr_counts; i++) {
		verdict = count[i] <= count_bar[i] ? "ok" : "MISS"
		printf "%-9s%-31s %6s  <= %s %s\n", count_queue[i], count_what[i], count[i], count_bar[i], verdict
		printf("%s\n    {\"queue\": %s, \"row\": %s, \"requests\": %s, \"bar\": %s, \"verdict\": %s}", i > 1 ? "," : "", \
			quote(count_queue[i]), quote(count_what[i]), count[i], count_bar[i], quote(verdict)) >json
		tally[verdict]++
	}
	printf("],\n  \"allocations\": [") >json
	if (nr_allocs)
		print "\nallocations per bio"
	for (i = 1; i <= nr_allocs; i++) {
		bad = allocs[i] ~ /^not/
		sub(/^(not )?ok [0-9]+ - /, "", allocs[i])
		printf "%-4s %s\n", bad ? "MISS" : "ok", allocs[i]
		printf("%s\n    {\"check\": %s, \"ok\": %s}", i > 1 ? "," : "", quote(allocs[i]), bad ? "false" : "true") >json
		tally[bad ? "MISS" : "ok"]++
	}
	printf("],\n  \"ok\": %d, \"ok_by_spread\": %d, \"miss\": %d, \"missing\": %d, \"not_measurable\": %d\n}\n", \
		tally["ok"], tally["ok~"], tally["MISS"], tally["missing"], tally["n/m"]) >json
	printf "\n%s: %d ok, %d ok~ (by the spread), %d MISS, %d missing, %d n/m (not measurable here) (%s)\n", kernel, \
		tally["ok"], tally["ok~"], tally["MISS"], tally["missing"], tally["n/m"], json
	exit (tally["MISS"] + tally["missing"] + tally["n/m"] > 0 || !(nr_keys + nr_counts + nr_allocs))
}
