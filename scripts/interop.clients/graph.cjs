// GET, DELETE and POST with the Graph client for JavaScript, over https.
"use strict";

const assert = require("node:assert");
const { randomUUID } = require("node:crypto");
const { Client } = require("@microsoft/microsoft-graph-client");

const url = process.argv[2].replace(/\/$/, "");
const tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const app = "2891555a-92ff-42e6-80fa-6e1300c6b5c6";

async function control(path, body) {
  const answer = await fetch(`${url}/sim/${path}`, { method: "POST", body: JSON.stringify(body) });
  assert.ok(answer.ok, `${path}: ${answer.status}`);
}

async function token() {
  const form = new URLSearchParams({
    grant_type: "client_credentials",
    client_id: app,
    client_secret: "right",
    scope: "https://graph.microsoft.com/.default",
  });
  const answer = await fetch(`${url}/${tenant}/oauth2/v2.0/token`, { method: "POST", body: form });
  assert.equal(answer.status, 200);
  return (await answer.json()).access_token;
}

async function main() {
  const client = Client.init({
    baseUrl: url,
    customHosts: new Set([new URL(url).hostname]),
    authProvider: (done) => token().then((text) => done(null, text), done),
  });
  for (const [version, prefix] of [
    ["v1.0", "/communications"],
    ["beta", "/app"],
    ["beta", `/applications/${app}`],
  ]) {
    const make = async (more) => {
      const call = { id: randomUUID(), source: "+4930123456", targets: ["8856"] };
      await control("calls", { ...call, tenantId: tenant, appId: app, ...more });
      return client.api(`${prefix}/calls/${call.id}`).version(version);
    };
    const path = async (more, below) => {
      const { id } = await (await make(more)).get();
      return client.api(`${prefix}/calls/${id}${below}`).version(version);
    };
    const one = { id: "p", identity: { phone: { id: "+4930123456" } } };

    const call = await make({});
    assert.equal((await call.get()).state, "established");
    await call.delete();
    await assert.rejects(call.delete(), (error) => {
      assert.equal(error.statusCode, 404);
      assert.equal(error.code, "8522");
      return true;
    });
    const roster = await (await path({ participants: [one] }, "/participants")).get();
    assert.deepEqual(roster.value.map((participant) => participant.id), ["p"]);
    await (await path({ participants: [one] }, "/participants/p")).delete();
    await (await path({ state: "incoming" }, "/reject")).post({ reason: "busy" });
    const invited = await (await path({}, "/participants/invite")).post({
      participants: [{ identity: { phone: { id: "+4930123457" } } }],
    });
    assert.equal(invited.status, "Running");
    console.log(`${version}${prefix}: read, hung up, roster, removed, rejected, invited`);
  }
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
