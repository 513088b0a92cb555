// A small server of CAS: everybody who comes is the user a test has named; a ticket counts once and for the service it was made for.
import { randomUUID } from 'node:crypto';
import http from 'node:http';

const escape = (text) => text.replace(/[&<>]/g, (c) => `&#${c.charCodeAt(0)};`);

export async function cas() {
  const state = { user: 'ann', attributes: {}, tickets: new Map() };
  const server = http.createServer((request, response) => {
    const url = new URL(request.url, 'http://127.0.0.1');
    const service = url.searchParams.get('service') ?? '';
    if (url.pathname === '/cas/login') {
      const ticket = `ST-${randomUUID()}`;
      state.tickets.set(ticket, service);
      response.writeHead(302, { Location: `${service}${service.includes('?') ? '&' : '?'}ticket=${ticket}` }).end();
      return;
    }
    const ticket = url.searchParams.get('ticket');
    const known = url.pathname === '/cas/serviceValidate' && state.tickets.get(ticket) === service;
    state.tickets.delete(ticket);
    const attributes = Object.entries(state.attributes).flatMap(([k, all]) => all.map((v) => `<cas:${k}>${escape(v)}</cas:${k}>`)).join('');
    const body = known
      ? `<cas:authenticationSuccess><cas:user>${escape(state.user)}</cas:user><cas:attributes>${attributes}</cas:attributes></cas:authenticationSuccess>`
      : '<cas:authenticationFailure code="INVALID_TICKET">no</cas:authenticationFailure>';
    response.end(`<cas:serviceResponse xmlns:cas="http://www.yale.edu/tp/cas">${body}</cas:serviceResponse>`);
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return { url: `http://127.0.0.1:${server.address().port}/cas`, is: (user, attributes) => Object.assign(state, { user, attributes }) };
}
