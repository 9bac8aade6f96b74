/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest of 512 bytes: writes to the disk that it was booted from, ten times a second, and says on the serial port how that
 * went: W for a write that was good, E for one that was not.
 */
	.code16
	.globl	_start
_start:
	xor	%ax, %ax
	mov	%ax, %ds
	mov	%ax, %ss
	mov	$0x7c00, %sp
	mov	%dl, drive
again:
	mov	$0x4300, %ax		/* extended write */
	mov	$packet, %si
	movb	$1, 2(%si)		/* it says there how many it wrote */
	mov	drive, %dl
	int	$0x13
	mov	$'W', %al
	jnc	say
	mov	$'E', %al
say:
	mov	$0x3f8, %dx
	out	%al, %dx
	mov	$0x8600, %ax		/* wait for 100000 us */
	mov	$1, %cx
	mov	$0x86a0, %dx
	int	$0x15
	jmp	again
packet:
	.byte	16, 0
	.word	1			/* sector */
	.word	0x7c00, 0		/* from here */
	.quad	1			/* to there */
drive:
	.byte	0
	.org	510
	.word	0xaa55
