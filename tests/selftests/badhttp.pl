#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0-only
# A web server that does wrong: badhttp.pl PORT FILE MODE REQUESTS
# What it does to the next request is in the file MODE; what it was asked is appended to REQUESTS, a line each: mode, path,
# query, and of the headers Range, If-Match, Authorization, X-Secret, x-amz-security-token. It is there on all of 127.0.0.0/8.
use strict;
use warnings;
use Digest::SHA qw(hmac_sha256 hmac_sha256_hex sha256_hex);
use IO::Socket::INET;

my ($port, $image, $mode_file, $log) = @ARGV;
my $server = IO::Socket::INET->new(LocalPort => $port, Listen => 64, ReuseAddr => 1) or die "$port: $!";
$SIG{CHLD} = 'IGNORE';
$| = 1;
print "ready\n";

sub mode {
	open my $file, '<', $mode_file or return 'ok';
	my $mode = <$file> // '';
	chomp $mode;
	return $mode || 'ok';
}

# Is it signed as AWS's Signature Version 4 says, with the secret "secret"?
sub signed {
	my ($path, $query, $header) = @_;
	my ($date) = ($header->{authorization} // '') =~ m{Credential=key/(\d{8})/eu-west-1/s3/aws4_request} or return 0;
	my ($names) = $header->{authorization} =~ /SignedHeaders=([^,]+)/ or return 0;
	my ($signature) = $header->{authorization} =~ /Signature=([0-9a-f]{64})/ or return 0;
	my $body = $header->{'x-amz-content-sha256'} // sha256_hex('');
	my $canonical = join "\n", 'GET', $path, $query, (map { "$_:" . ($header->{$_} // '') } split /;/, $names), '', $names, $body;
	my $text = join "\n", 'AWS4-HMAC-SHA256', $header->{'x-amz-date'}, "$date/eu-west-1/s3/aws4_request", sha256_hex($canonical);
	my $key = 'AWS4secret';
	$key = hmac_sha256($_, $key) for $date, 'eu-west-1', 's3', 'aws4_request';
	return $names =~ /\bhost\b/ && $names =~ /x-amz-date/ && $header->{'x-amz-content-sha256'} && hmac_sha256_hex($text, $key) eq $signature;
}

sub serve {
	my ($client) = @_;
	my %header;
	my $line = <$client> // return;
	my ($path, $query) = $line =~ m{^GET ([^ ?]*)\??(\S*) HTTP/1} or return;
	while (my $next = <$client>) {
		last if $next =~ /^\r?\n/;
		$header{lc $1} = $2 if $next =~ /^([^:]+):\s*(.*?)\r?\n/;
	}
	my $mode = mode();
	my $size = -s $image;
	my ($first, $last) = ($header{range} // '') =~ /bytes=(\d+)-(\d+)/;
	open my $out, '>>', $log;
	print $out join(' ', "$mode $path $query", map { $header{$_} // '-' } qw(range if-match authorization x-secret x-amz-security-token)), "\n";
	close $out;
	# It answers when the mode is another one: with =FIRST,OTHERS only the range that begins there, others as OTHERS says.
	while ($mode =~ /^hang(?:=(\d+),(\w+))?$/) {
		$mode = $2, last if defined $1 && $1 ne $first;
		select undef, undef, undef, 0.02;
		$mode = mode();
	}
	return print $client "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
		if ($mode eq '403') || ($mode =~ /^sas=(.*)/ && $query ne $1) || ($mode =~ /^bearer=(.*)/ && ($header{authorization} // '') ne "Bearer $1") ||
		($mode eq 'sigv4' && !signed($path, $query, \%header));
	return print $client "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
		if $mode =~ /^session=(.*)/ && ($header{'x-amz-security-token'} // '') ne $1;
	return print $client "HTTP/1.1 302 Found\r\nLocation: $1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" if $mode =~ /^to=(.*)/ && $path ne '/there';
	return print $client "HTTP/1.1 $mode Error\r\nContent-Length: 5\r\nConnection: close\r\n\r\nerror" if $mode =~ /^(500|503|416|404|412)$/;
	return if $mode eq 'close';
	if ($mode eq 'garbage') {
		print $client "\0\377" x 3000;
		return;
	}
	my $etag = $mode eq 'etag' ? '"two"' : $mode eq 'noetag' ? '' : $mode eq 'weak' ? 'W/"one"' : '"one"';
	return print $client "HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
		if $mode eq 'match' && ($header{'if-match'} // '"two"') ne '"two"';
	$etag = '"two"' if $mode eq 'match';
	open my $file, '<:raw', $image or return;
	my $total = $size;
	if ($mode eq '200' || !defined $last) {
		print $client "HTTP/1.1 200 OK\r\nContent-Length: $size\r\nETag: $etag\r\nConnection: close\r\n\r\n";
		($first, $last) = (0, $size - 1);
	} else {
		$last = $size - 1 if $last >= $size;
		my ($said_first, $said_last) = ($first, $last);
		$first += 512, $last += 512 if $mode eq 'moved';
		($said_first, $said_last) = ($first + 512, $last + 512) if $mode eq 'range' || $mode eq 'moved';
		$said_first = $first += 512 if $mode eq 'less';
		$total += 512 if $mode eq 'length';
		print $client "HTTP/1.1 206 Partial Content\r\n", $etag ? "ETag: $etag\r\n" : '',
			$mode eq 'norange' ? '' : "Content-Range: bytes $said_first-$said_last/$total\r\n",
			$mode eq 'encoded' ? "Content-Encoding: gzip\r\n" : '',
			$mode eq 'multipart' ? "Content-Type: multipart/byteranges; boundary=x\r\n" : '',
			$mode eq 'long' ? '' : 'Content-Length: ' . ($mode eq 'short' ? $last - $first : $last - $first + 1) . "\r\n",
			"Connection: close\r\n\r\n";
	}
	seek $file, $first, 0;
	my $left = $last - $first + 1;
	my $most = $mode eq 'reset' || $mode eq 'cut' ? int($left / 2) : $mode eq 'short' ? $left - 1 : $left;
	while ($most > 0) {
		my $got = read $file, my $data, $most < 16384 ? $most : 16384;
		last if !$got;
		print $client $data or return;
		$most -= $got;
		select undef, undef, undef, 0.02 if $mode eq 'slow';
	}
	print $client 'x' x 512 if $mode eq 'long';
	setsockopt $client, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0) if $mode eq 'reset';
}

while (1) {
	my $client = $server->accept or next;
	my $pid = fork // next;
	if (!$pid) {
		local $SIG{PIPE} = 'IGNORE';
		close $server;
		$client->autoflush(1);
		serve($client);
		close $client;
		exit 0;
	}
	close $client;
}
