# shellcheck shell=bash
# Boots a guest and runs a script in it.

run() {
	local cpus=2 threads=single mem=2G timeout=300 plain='' append='' log='' kernel entry script
	local -a nvme=() qemu_args=()
	while (($#)); do
		case $1 in
		--cpus) cpus=$2 && shift 2 ;;
		--mem) mem=$2 && shift 2 ;;
		--timeout) timeout=$2 && shift 2 ;;
		--nvme) nvme+=("$2") && shift 2 ;;
		--append) append=$2 && shift 2 ;;
		--log) log=$2 && shift 2 ;;
		--qemu-arg) qemu_args+=("$2") && shift 2 ;;
		--parallel) threads=multi && shift ;;
		--plain) plain=-plain && shift ;;
		--*) die "run: no option '$1'" ;;
		*) break ;;
		esac
	done
	[[ $# -ge 3 && $2 == -- ]] || die 'usage: vm run [OPTION...] KERNEL -- SCRIPT [ARG...]'
	kernel=$1
	shift 2
	[[ -f $1 ]] || die "no script '$1'"
	script=$(readlink -f "$1")
	shift
	prepare "$kernel"
	entry=$(readlink -f "$(current "$kernel")")

	work=$(mktemp -d -t vdisk-vm.XXXXXX)
	trap 'kill "$guest" 2>/dev/null || :; rm -rf "$work"' EXIT
	mkdir -p "$OUT/artifacts/$kernel" "$OUT/log"
	initramfs "$script" "$@"
	case $kernel in
	uml-*) uml ;;
	*) qemu ;;
	esac
	outcome "$OUT/log/$kernel-${log:-${script##*/}}.log"
}

# What the guest is to do comes with its initramfs, after the kernel's own modules.
initramfs() {
	local tree=$work/tree
	mkdir -p "$tree/bin"
	cp /bin/busybox "$tree/bin/busybox"
	cp "$LIB/init" "$tree/init"
	{
		printf 'cd %q\n' "$PWD"
		printf 'export %q\n' "VDISK_KERNEL=$kernel" "VDISK_BUILD=$OUT/$kernel$plain" "VDISK_CONFIG=$entry/config" \
			"VDISK_TOOLS=$CACHE/current" "VDISK_SYSTEM=$(current system)/root.tar" "VDISK_SERVERS=$(current servers)/root.tar"
		printf 'artifacts=%q modules=%q disks=%d\n' "$OUT/artifacts/$kernel" "$entry/lib/modules" "${#nvme[@]}"
		printf 'command=(bash'
		printf ' %q' "$@"
		printf ')\n'
	} >"$tree/command"
	echo "$LIB/guest" >"$tree/guest"
	(cd "$tree" && find . | cpio -o -H newc --quiet) >"$work/initramfs"
	[[ ! -f $entry/modules.cpio ]] || cat "$entry/modules.cpio" >>"$work/initramfs"
}

# Warnings while booting, everything from then on (the guest sets it), and a panic ends the guest.
cmdline() {
	echo "loglevel=5 printk.devkmsg=on log_buf_len=4M panic=-1 $* $append"
}

# up SECONDS: the guest is, or has ended
up() {
	local end=$((SECONDS + $1))
	while ((SECONDS < end)); do
		! grep -q 'vm: ready' "$work/console" 2>/dev/null || return 0
		kill -0 "$guest" 2>/dev/null || return 0
		sleep 0.5
	done
	return 1
}

# start COMMAND...: run it within the time; its output is the script's. An emulated machine hangs or dies now and then before its
# kernel is up (seen in the start of the second processor, and with a timer interrupt that came too late): it has another try.
start() {
	local try patience=120
	[[ $kernel != kasan-* ]] || patience=400
	for try in 1 2; do
		timeout --kill-after=5 "$timeout" "$@" </dev/null &
		guest=$!
		status=0
		if ((try == 2 || timeout < 2 * patience)); then
			wait "$guest" || status=$?
			return 0
		fi
		up $patience || kill "$guest"
		if grep -q 'vm: ready' "$work/console"; then
			wait "$guest" || status=$?
			return 0
		fi
		wait "$guest" || :
		say "$kernel: did not come up, once more"
	done
}

qemu() {
	local -i n=0
	local disk
	# shellcheck disable=SC2054 # QEMU's commas
	local -a args=(-nodefaults -no-user-config -display none -no-reboot -smp "$cpus" -m "$mem" -kernel "$entry/vmlinuz"
		-initrd "$work/initramfs"
		-chardev "file,id=console,path=$work/console" -serial chardev:console
		-chardev stdio,id=output,signal=off -serial chardev:output
		-fsdev local,id=root,path=/,security_model=none,readonly=on,multidevs=remap
		-device virtio-9p-pci,fsdev=root,mount_tag=root
		-fsdev "local,id=out,path=$OUT/artifacts/$kernel,security_model=none"
		-device virtio-9p-pci,fsdev=out,mount_tag=out)
	# Where KVM has no processor to rely on, it is slower than this, and dies of what it does not know.
	if [[ -r /dev/kvm && -w /dev/kvm ]] && grep -qwE 'vmx|svm' /proc/cpuinfo; then
		args+=(-accel kvm -cpu host)
	else
		# Fast string operations, emulated, move memory byte by byte.
		args+=(-accel "tcg,thread=$threads" -cpu "max,erms=off")
		# QEMU translates code once for each address that it is seen at: programs at random ones take four times as long.
		append="norandmaps mitigations=off no_timer_check $append"
	fi
	[[ $kernel != kasan-* ]] || append="kunit.enable=0 $append"
	for disk in "${nvme[@]}"; do
		truncate -s "${disk%%,*}" "$work/nvme$n"
		mapfile -t -O "${#args[@]}" args < <(nvme_args "$n" "$disk")
		n+=1
	done
	start qemu-system-x86_64 "${args[@]}" -append "$(cmdline console=ttyS0)" "${qemu_args[@]}"
}

uml() {
	((${#nvme[@]} == 0)) || die "$kernel has no NVMe: run what needs --nvme under 6.1, 6.12 or 7.3"
	# shellcheck disable=SC2046 # words
	start "$entry/linux" mem="$mem" initrd="$work/initramfs" \
		$(cmdline con=null con0=null,fd:1 ssl=null ssl1=null,fd:3 kunit.enable=0) 3>&1 >"$work/console" 2>&1
}

# nvme_args N SIZE[,KEY=VALUE...]: the arguments of disk N, a line each.
nvme_args() {
	local n=$1 key controller="nvme,id=controller$1" namespace="nvme-ns,bus=controller$1,drive=nvme$1,nsid=1"
	local -a keys
	IFS=, read -ra keys <<<"$2"
	for key in "${keys[@]:1}"; do
		case $key in
		lbs=*) namespace+=,logical_block_size=${key#*=},physical_block_size=${key#*=} ;;
		serial=* | mdts=* | max_ioqpairs=*) controller+=,$key ;;
		*) namespace+=,$key ;;
		esac
	done
	[[ $controller == *,serial=* ]] || controller+=,serial=vdisk$n
	printf '%s\n' -drive "if=none,id=nvme$n,file=$work/nvme$n,format=raw,cache=unsafe,discard=unmap" \
		-device "$controller" -device "$namespace"
}

# outcome LOG: keep the kernel log, judge it, and exit.
outcome() {
	local log=$1 result ready
	tr -d '\r' <"$work/console" >"$log"
	result=$(sed -n 's/.*vm: exit \([0-9]*\)$/\1/p' "$log" | tail -n 1)
	ready=$(sed -n 's/.*vm: ready //p' "$log" | tail -n 1)
	if [[ -z $result ]]; then
		tail -n 80 "$log" >&2
		((status == 124 || status == 137)) && say "$kernel: the guest hung: killed after $timeout s ($log)" && exit 124
		[[ $ready ]] && say "$kernel: the guest died ($log)" && exit 124
		die "$kernel: the guest did not boot ($log)"
	fi
	say "$kernel: ${script##*/}: exit status $result, booted in $ready s, $SECONDS s in all"
	if ! awk -f "$LIB/klog.awk" "$log" >&2; then
		say "$kernel: the kernel log has warnings ($log)"
		((result)) || result=99
	fi
	exit "$result"
}
