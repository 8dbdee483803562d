// Every Vectorize, KV and token method of the npm SDK; prints one line per method.
import Cloudflare, { toFile } from 'cloudflare';

const account_id = process.env.CLOUDFLARE_ACCOUNT_ID;
const options = { baseURL: process.env.CLOUDFLARE_API_BASE_URL, maxRetries: 0 };
const client = new Cloudflare({ apiToken: process.env.CLOUDFLARE_API_TOKEN, ...options });
let failed = 0;

function report(outcome, name, detail) {
  failed += outcome === 'FAILED';
  console.log(`${outcome}: npm ${name}`);
  if (detail) console.log(`    ${detail}`);
}

async function works(name, command, check = () => true) {
  try {
    const result = await command();
    if (check(result)) report('ok', name);
    else report('FAILED', name, `unexpected result: ${JSON.stringify(result)}`.slice(0, 500));
    return result;
  } catch (error) {
    report('FAILED', name, String(error).slice(0, 500));
  }
}

async function refused(name, command, words) {
  try {
    await command();
    report('FAILED', name, 'was to be refused');
  } catch (error) {
    if (String(error).includes(words)) report('refused as expected', name);
    else report('FAILED', name, `refused, but for another reason: ${error}`.slice(0, 500));
  }
}

async function all(pages) {
  const found = [];
  for await (const one of pages) found.push(one);
  return found;
}

const { indexes } = client.vectorize;
const on = { account_id };
const config = { dimensions: 32, metric: 'dot-product' };
const lines = Array.from({ length: 25 }, (_, n) =>
  JSON.stringify({ id: `v${n}`, values: Array(32).fill(n + 1.5), metadata: { f: `f${n % 2}` } }),
).join('\n');

await works('indexes.create', () => indexes.create({ name: 'docs', config, ...on }));
await refused('indexes.create, again', () => indexes.create({ name: 'docs', config, ...on }), '3002');
await works('indexes.list', () => all(indexes.list(on)), (found) => found.length === 1);
await works('indexes.get', () => indexes.get('docs', on), (one) => one.config.dimensions === 32);
await refused('indexes.get, absent', () => indexes.get('absent', on), '3000');
await works('metadataIndex.create', () =>
  indexes.metadataIndex.create('docs', { indexType: 'string', propertyName: 'f', ...on }));
await works('metadataIndex.list', () => indexes.metadataIndex.list('docs', on),
  (found) => found.metadataIndexes[0].propertyName === 'f');
await works('indexes.insert', () => indexes.insert('docs', { body: lines, ...on }),
  (done) => done.mutationId);
await works('indexes.upsert, a stream', () =>
  indexes.upsert('docs', { body: new Blob([lines]), 'unparsable-behavior': 'error', ...on }),
  (done) => done.mutationId);
await refused('indexes.upsert, as JSON', () => indexes.upsert('docs', { body: lines, ...on },
  { headers: { 'content-type': 'application/json' } }), '1005');
await works('indexes.info', () => indexes.info('docs', on), (info) => info.vectorCount === 25);
await works('indexes.listVectors', () => indexes.listVectors('docs', { count: 10, ...on }),
  (page) => page.totalCount === 25 && page.nextCursor);
await works('indexes.getByIDs', () => indexes.getByIDs('docs', { ids: ['v1'], ...on }),
  (found) => found[0].values[0] === 2.5);
await refused('indexes.getByIDs, 21', () =>
  indexes.getByIDs('docs', { ids: Array.from({ length: 21 }, (_, n) => `${n}`), ...on }), '40007');
await works('indexes.query', () =>
  indexes.query('docs', { vector: Array(32).fill(1), topK: 3, filter: { f: 'f1' }, ...on }),
  (found) => found.count === 3 && found.matches[0].id === 'v23');
await works('indexes.deleteByIDs', () => indexes.deleteByIDs('docs', { ids: ['v1'], ...on }),
  (done) => done.mutationId);
await works('metadataIndex.delete', () =>
  indexes.metadataIndex.delete('docs', { propertyName: 'f', ...on }));
await works('indexes.delete', () => indexes.delete('docs', on));

const { namespaces } = client.kv;
const namespace = await works('namespaces.create', () => namespaces.create({ title: 'npm', ...on }));
await refused('namespaces.create, again', () => namespaces.create({ title: 'npm', ...on }), '10014');
await works('namespaces.list', () => all(namespaces.list(on)), (found) => found.length === 1);
await works('namespaces.get', () => namespaces.get(namespace.id, on), (one) => one.title === 'npm');
await works('namespaces.update', () => namespaces.update(namespace.id, { title: 'other', ...on }));
const body = Array.from({ length: 25 }, (_, n) => ({ key: `file:${n}/é`, value: `${n}` }));
await works('namespaces.bulkUpdate', () => namespaces.bulkUpdate(namespace.id, { body, ...on }),
  (done) => done.successful_key_count === 25);
await works('namespaces.bulkGet', () =>
  namespaces.bulkGet(namespace.id, { keys: ['file:1/é', 'absent'], ...on }),
  (found) => found.values['file:1/é'] === '1' && found.values.absent === null);
await works('keys.list, three pages', () =>
  all(namespaces.keys.list(namespace.id, { limit: 10, ...on })), (found) => found.length === 25);
const at = { namespace_id: namespace.id, ...on };
await works('values.update', async () => namespaces.values.update('a/b: %41é?#+',
  { value: await toFile(Buffer.from('text'), 'value'), metadata: '{"m":1}', ...at }));
await works('values.get', async () =>
  (await namespaces.values.get('a/b: %41é?#+', at)).text(), (text) => text === 'text');
await works('metadata.get', () => namespaces.metadata.get('a/b: %41é?#+', at));
await works('values.delete', () => namespaces.values.delete('a/b: %41é?#+', at));
await refused('values.get, absent', () => namespaces.values.get('a/b: %41é?#+', at), '10009');
await works('namespaces.bulkDelete', () =>
  namespaces.bulkDelete(namespace.id, { body: ['file:1/é'], ...on }));
await works('namespaces.delete', () => namespaces.delete(namespace.id, on));

await works('user.tokens.verify', () => client.user.tokens.verify(), (one) => one.status === 'active');
await works('accounts.tokens.verify', () => client.accounts.tokens.verify(on),
  (one) => one.status === 'active');
const stranger = new Cloudflare({ apiToken: 'unknown', ...options });
await refused('unknown token', () => stranger.user.tokens.verify(), '401');
process.exit(failed ? 1 : 0);
