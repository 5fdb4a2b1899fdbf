// Starts GraphiQL with the token of the bar above it.
//
// The token is kept for this tab alone (sessionStorage): it is deleted when the tab is closed, and no other tab sees
// it. It goes out as `Authorization` with every request and as `connection_init` of the socket that subscriptions use.
'use strict';

(() => {
  const KEPT_AS = 'tenterhook:token';
  // Relative to this page, so that it works under another path too.
  const endpoint = new URL('graphql', document.baseURI);
  const socket = new URL('graphql/ws', document.baseURI);
  socket.protocol = socket.protocol === 'https:' ? 'wss:' : 'ws:';
  const files = new URL('.', document.currentScript.src);

  const field = document.getElementById('token');
  const standing = document.getElementById('standing');
  const root = ReactDOM.createRoot(document.getElementById('graphiql'));
  let client;
  let times = 0;

  /** What a token says of itself; only the server knows whether it is true. */
  function described(token) {
    if (!token) {
      return 'Paste a token: `tenterhook dev` prints some when it starts, and `tenterhook token` prints others.';
    }
    try {
      const bytes = Uint8Array.from(atob(token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
      const claims = JSON.parse(new TextDecoder().decode(bytes));
      const whose = claims.sub
        ? `user ${claims.sub} of company ${claims.company_id}${claims.app_id ? ` through app ${claims.app_id}` : ''}`
        : 'no user';
      return `${whose} (${claims.scope}) until ${new Date(claims.exp * 1000).toLocaleString()}`;
    } catch {
      return 'This does not look like a token.';
    }
  }

  /** Shows GraphiQL for this token. The schema is requested again, if there is a token to request it with. */
  function show(token, examples) {
    standing.value = described(token);
    client?.dispose();
    client = graphqlWs.createClient({
      url: socket.href,
      connectionParams: () => (token ? { authorization: `Bearer ${token}` } : {}),
    });
    const fetcher = GraphiQL.createFetcher({
      url: endpoint.href,
      headers: token ? { authorization: `Bearer ${token}` } : {},
      wsClient: client,
      enableIncrementalDelivery: false,
    });
    times += 1;
    root.render(
      React.createElement(GraphiQL, {
        key: times,
        fetcher,
        schema: token ? undefined : null,
        defaultTabs: examples,
        shouldPersistHeaders: false,
        showPersistHeadersSettings: false,
      }),
    );
  }

  async function start() {
    const text = await (await fetch(new URL('examples.graphql', files))).text();
    const examples = text.split(/^#---\n/m).map((query) => ({ query: query.trim() }));
    field.value = sessionStorage.getItem(KEPT_AS) ?? '';
    document.getElementById('access').addEventListener('submit', (event) => {
      event.preventDefault();
      const token = field.value.trim().replace(/^Bearer\s+/i, '');
      sessionStorage.setItem(KEPT_AS, token);
      show(token, examples);
    });
    show(field.value, examples);
  }

  start();
})();
