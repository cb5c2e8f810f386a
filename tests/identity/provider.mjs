// A certified OpenID Connect provider for the tests: `node provider.mjs PORT KEY CERTIFICATE PEOPLE`.
// PEOPLE is JSON, groups by person; whoever is called `hasty` gets tokens that are good for one second.
import { readFileSync } from 'node:fs'
import https from 'node:https'
import Provider from 'oidc-provider'

const [port, key, certificate, people] = process.argv.slice(2)
const groups = JSON.parse(people)

const client = (name) => ({
  client_id: name,
  application_type: 'native',
  token_endpoint_auth_method: 'none',
  grant_types: ['authorization_code'],
  response_types: ['code'],
  redirect_uris: ['http://127.0.0.1/callback'],
})

const provider = new Provider(`https://127.0.0.1:${port}`, {
  clients: [client('commonpool'), client('another')],
  scopes: ['openid', 'groups'],
  claims: { openid: ['sub'], groups: ['groups'] },
  conformIdTokenClaims: false,
  findAccount: (context, name) => ({
    accountId: name,
    claims: () => ({ sub: name, groups: groups[name] ?? [] }),
  }),
  ttl: {
    IdToken: (context) => (context.oidc.account?.accountId === 'hasty' ? 1 : 600),
    Interaction: 60, Grant: 600, Session: 600, AccessToken: 600, AuthorizationCode: 60,
  },
})

const tls = { key: readFileSync(key), cert: readFileSync(certificate) }
https.createServer(tls, provider.callback()).listen(Number(port), '127.0.0.1', () => console.log('ready'))
