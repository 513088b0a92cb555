// A certified OpenID provider (oidc-provider), with what a test may want of it: other people, other keys, and tokens that are wrong in one way.
import * as crypto from 'node:crypto';
import http from 'node:http';
import Provider from 'oidc-provider';

const b64 = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

function key(kid) {
  const { privateKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { privateKey, jwk: { ...privateKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'RS256' } };
}

/** A token with other claims or another header, signed again. */
function forged(token, how, signing) {
  const [header, claims] = token.split('.').slice(0, 2).map((part) => JSON.parse(Buffer.from(part, 'base64url')));
  const publicPem = crypto.createPublicKey(signing.privateKey).export({ type: 'spki', format: 'pem' });
  let sign = (text) => crypto.sign('sha256', Buffer.from(text), signing.privateKey);
  const now = Math.floor(Date.now() / 1000);
  switch (how) {
    case 'nonce': claims.nonce = 'another'; break;
    case 'aud': claims.aud = 'another'; break;
    case 'azp': claims.aud = [claims.aud, 'another']; claims.azp = 'another'; break;
    case 'iss': claims.iss = 'https://another.example.org'; break;
    case 'exp': claims.exp = now - 600; break;
    case 'iat': claims.iat = now - 7200; break;
    case 'none': header.alg = 'none'; sign = () => Buffer.alloc(0); break;
    // The public key, which everybody has, as the secret of an HMAC.
    case 'hs256': header.alg = 'HS256'; sign = (text) => crypto.createHmac('sha256', publicPem).update(text).digest(); break;
    case 'signature': sign = (text) => crypto.sign('sha256', Buffer.from(`${text}x`), signing.privateKey); break;
    case 'stranger': { const other = key('x').privateKey; sign = (text) => crypto.sign('sha256', Buffer.from(text), other); break; }
    case 'absent': return undefined;
    default: throw new Error(`no forgery ${how}`);
  }
  const text = `${b64(header)}.${b64(claims)}`;
  return `${text}.${Buffer.from(sign(text)).toString('base64url')}`;
}

export async function provider({ redirect_uris, secret }) {
  const people = new Map();
  const state = { backchannel: undefined, forge: null, keys: [key('k1')], current: null, answers: [] };
  const server = http.createServer((request, response) => state.current.callback()(request, response));
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const make = () => {
    const made = new Provider(issuer, {
      clients: [{
        client_id: 'wolke', client_secret: secret, redirect_uris, response_types: ['code'], grant_types: ['authorization_code'],
        ...(state.backchannel && { backchannel_logout_uri: state.backchannel, backchannel_logout_session_required: true }),
      }, {
        client_id: 'wolke-post', client_secret: secret, redirect_uris, response_types: ['code'], grant_types: ['authorization_code'],
        token_endpoint_auth_method: 'client_secret_post',
      }],
      jwks: { keys: state.keys.map((k) => k.jwk) },
      cookies: { keys: ['a key of a test'] },
      claims: { openid: ['sub', 'sid'], profile: ['name', 'preferred_username'], email: ['email'], groups: ['groups', 'project', 'roles'] },
      scopes: ['openid', 'profile', 'email', 'groups'],
      pkce: { methods: ['S256'], required: () => true },
      features: { backchannelLogout: { enabled: true } },
      ttl: { Session: 3600, Grant: 3600, Interaction: 600, AccessToken: 600, IdToken: 600, AuthorizationCode: 60 },
      async loadExistingGrant(ctx) {
        const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
        grant.addOIDCScope('openid profile email groups');
        await grant.save();
        return grant;
      },
      findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id, preferred_username: id, ...people.get(id) }) }),
    });
    made.use(async (ctx, next) => {
      await next();
      if (ctx.path === '/token' && ctx.body?.id_token && state.forge) ctx.body.id_token = forged(ctx.body.id_token, state.forge, state.keys[0]);
    });
    made.on('backchannel.success', () => state.answers.push('ok'));
    made.on('backchannel.error', (ctx, error) => state.answers.push(String(error)));
    return made;
  };
  state.current = make();
  return {
    issuer,
    person: (id, claims) => people.set(id, claims),
    /** Where it tells that a login is over. */
    backchannel: (uri) => { state.backchannel = uri; state.current = make(); },
    forge: (how) => { state.forge = how; },
    /** New tokens are signed with a key nobody has seen; the old one is gone. */
    rotate: (kid) => { state.keys = [key(kid)]; state.current = make(); },
    answers: () => state.answers,
    /** A logout token of one's own making, right or wrong. */
    logoutToken: ({ claims, without, alg }) => {
      const now = Math.floor(Date.now() / 1000);
      const all = { iss: issuer, aud: 'wolke', iat: now, exp: now + 120, jti: crypto.randomUUID(),
        events: { 'http://schemas.openid.net/event/backchannel-logout': {} }, ...claims };
      for (const name of without ?? []) delete all[name];
      const text = `${b64({ alg: alg ?? 'RS256', typ: 'logout+jwt', kid: state.keys[0].jwk.kid })}.${b64(all)}`;
      return `${text}.${crypto.sign('sha256', Buffer.from(text), state.keys[0].privateKey).toString('base64url')}`;
    },
    close: () => server.close(),
  };
}
