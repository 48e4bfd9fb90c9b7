// Decides with @cloud-copilot/iam-simulate what standard input asks:
//     [{principal, policy, calls: [{action, resource, context, resourcePolicy}, ...]}, ...]
// Prints a list for each: [allowed, fault], the fault being what AWS does not have of a call: such an action, such a
// resource for it, such a condition key; "" when it has all of them.
const { readFileSync } = require("node:fs")
const { runSimulation, runUnsafeSimulation } = require("@cloud-copilot/iam-simulate")

async function decided(principal, policy, { action, resource, context, resourcePolicy }) {
  const simulation = {
    request: { principal, action, resource: { resource, accountId: principal.split(":")[4] }, contextVariables: context },
    identityPolicies: [{ name: "policy", policy }],
    resourcePolicy,
    serviceControlPolicies: [],
    resourceControlPolicies: [],
  }
  const answer = await runSimulation(simulation, {})
  if (answer.resultType !== "error") return [answer.overallResult === "Allowed", ""]
  return [runUnsafeSimulation(simulation, {}) === "Allowed", JSON.stringify(answer.errors)]
}

async function decisions({ principal, policy, calls }) {
  const answers = []
  for (const call of calls) answers.push(await decided(principal, policy, call))
  return answers
}

Promise.all(JSON.parse(readFileSync(0, "utf8")).map(decisions)).then((all) => console.log(JSON.stringify(all)))
