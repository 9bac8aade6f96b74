// SPDX-License-Identifier: GPL-2.0-only
// Usage: node stores.js KEYS LOG: Azurite on port 10000 and s3rver on 10001, until it is killed.
//
// s3rver computes signatures (Version 4, of headers and of presigned URLs), and refuses wrong ones and those that have expired. What S3
// refuses and it does not is refused here: who signs nothing or too little, for another region, or with another session's token.
// KEYS has the credentials that are good now, in the form of AWS's credential_process; each request reads it.
// LOG gets a line for each request to s3rver: status, range, If-Match.
'use strict';

const fs = require('fs');
const http = require('http');
const Module = require('module');
const [keys, log] = process.argv.slice(2);

// Azurite loads two clients of databases and one of telemetry that it does not use here, which takes half a minute in emulation.
const nothing = new Proxy(class {}, { get: (target, key) => key in target ? target[key] : nothing });
const load = Module._load;
Module._load = (name, ...rest) => /^(applicationinsights|sequelize)$/.test(name) ? nothing : load(name, ...rest);

// refusal REQUEST GOOD: S3's code, if it would not look at the signature; of what is not 403, the status is in CODES
const codes = { AuthorizationHeaderMalformed: 400, ExpiredToken: 400 };
function refusal(request, good) {
	const url = new URL(request.url, 'http://localhost');
	const said = (request.headers.authorization || '').match(/^AWS4-HMAC-SHA256 Credential=([^,]*), *SignedHeaders=([^,]*),/);
	const [credential, signed] = said ? said.slice(1) :
		['X-Amz-Credential', 'X-Amz-SignedHeaders'].map(name => url.searchParams.get(name));
	if (!credential || !signed)
		return 'AccessDenied';
	const [id, , region, service, end] = credential.split('/');
	if (id !== good.AccessKeyId)
		return 'InvalidAccessKeyId';
	if (region !== 'eu-west-1' || service !== 's3' || end !== 'aws4_request')
		return 'AuthorizationHeaderMalformed';
	const must = Object.keys(request.headers).filter(name => name === 'host' || name.startsWith('x-amz-'));
	if (must.some(name => !signed.split(';').includes(name)))
		return 'AccessDenied';
	const token = request.headers['x-amz-security-token'] || url.searchParams.get('X-Amz-Security-Token') || '';
	return token === (good.SessionToken || '') ? null : 'ExpiredToken';
}

const S3rver = require('@20minutes/s3rver');
const account = require('@20minutes/s3rver/lib/models/account');
const s3 = new S3rver({ silent: true, directory: fs.mkdtempSync('/tmp/s3-'), configureBuckets: [{ name: 'disks' }] });
// It takes an end of 0 for none; one that is not falsy is an end.
const get = s3.store.getObject.bind(s3.store);
s3.store.getObject = (bucket, key, range) => get(bucket, key, range && range.end === 0 ? { ...range, end: new Number(0) } : range);
const answer = s3.callback();
s3.configureBuckets().then(() => http.createServer((request, response) => {
	const good = JSON.parse(fs.readFileSync(keys));
	const why = refusal(request, good);
	account.DUMMY_ACCOUNT.createKeyPair(good.AccessKeyId, good.SecretAccessKey);
	response.on('finish', () => fs.appendFileSync(log,
		`${response.statusCode} ${request.headers.range || '-'} ${request.headers['if-match'] || '-'}\n`));
	if (!why)
		return answer(request, response);
	request.resume();
	response.writeHead(codes[why] || 403, { 'Content-Type': 'application/xml' });
	response.end(`<Error><Code>${why}</Code></Error>`);
}).listen(10001, '127.0.0.1'));

process.argv.splice(2, 2, '--inMemoryPersistence', '--disableTelemetry', '--silent', '--blobPort', '10000');
require('azurite/dist/src/blob/main');
