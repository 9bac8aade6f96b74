# SPDX-License-Identifier: GPL-2.0
# What a person calls. The kernel's build reads Kbuild instead.

KDIR ?= /lib/modules/$(shell uname -r)/build

modules:
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules

modules_install:
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules_install

tools:
	$(MAKE) -C tools/vdisk
	$(MAKE) -C tools/systemd

tools_install:
	$(MAKE) -C tools/vdisk install
	$(MAKE) -C tools/systemd install

fetchd:
	$(MAKE) -C tools/fetchd

fetchd_install:
	$(MAKE) -C tools/fetchd install

deb:
	tools/deb/build

clean:
	$(MAKE) -C tools/vdisk clean
	$(MAKE) -C tools/systemd clean
	$(MAKE) -C tools/fetchd clean
	$(MAKE) -C $(KDIR) M=$(CURDIR) clean

check:
	tests/lib/vm deps
	tests/run

lint:
	tests/lint

demo bench soak:
	@tests/$@/run

help:
	@echo 'make [KDIR=DIR]                 build the modules for the running kernel, or the one built in DIR'
	@echo 'make modules_install [KDIR=DIR] install them'
	@echo 'make tools                      build the tool `vdisk` into build/ (needs libdevmapper-dev, libjson-c-dev,'
	@echo '                                libblkid-dev, uuid-dev, libcryptsetup-dev, libkeyutils-dev)'
	@echo 'make tools_install              install it, its manual pages, completion, udev rule, and the generator for /etc/vdisktab'
	@echo 'make fetchd                     build `vdisk-fetchd` into build/ (needs libcurl4-openssl-dev, libsystemd-dev, libjson-c-dev)'
	@echo 'make fetchd_install             install it, its manual page and its unit'
	@echo 'make deb                        build Debian packages of all of it into build/deb (as root, installs what that needs)'
	@echo 'make clean [KDIR=DIR]           remove what was built here'
	@echo 'make check                      run all tests (tests/run --help: some of them)'
	@echo 'make lint                       check the style of the sources'
	@echo 'make demo                       show what it does'
	@echo 'make bench                      measure'
	@echo 'make soak                       the tests that take hours'

.PHONY: modules modules_install tools tools_install fetchd fetchd_install deb clean check lint demo bench soak help
