// Forms that a security key or a passkey answers. Without this the page offers codes alone.

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
const named = (list = []) => list.map((each) => ({ ...each, id: bytes(each.id) }));

async function make(options) {
  const user = { ...options.user, id: bytes(options.user.id) };
  const known = named(options.excludeCredentials);
  const publicKey = { ...options, user, challenge: bytes(options.challenge), excludeCredentials: known };
  const { id, rawId, type, response } = await navigator.credentials.create({ publicKey });
  const { clientDataJSON, attestationObject } = response;
  const said = { clientDataJSON: text(clientDataJSON), attestationObject: text(attestationObject) };
  return { id, rawId: text(rawId), type, response: said };
}

async function use(options) {
  const publicKey = { ...options, challenge: bytes(options.challenge), allowCredentials: named(options.allowCredentials) };
  const { id, rawId, type, response } = await navigator.credentials.get({ publicKey });
  const { clientDataJSON, authenticatorData, signature } = response;
  const said = { clientDataJSON: text(clientDataJSON), authenticatorData: text(authenticatorData), signature: text(signature) };
  return { id, rawId: text(rawId), type, response: said };
}

async function answer(form, button) {
  const said = form.querySelector("[data-said]");
  const act = form.dataset.passkey === "create" ? make : use;
  button.disabled = true;
  said.textContent = form.dataset.touch;
  try {
    form.elements.answer.value = JSON.stringify(await act(JSON.parse(form.dataset.options)));
    if (button.hasAttribute("formaction")) form.action = button.formAction;
    form.submit();
  } catch (error) {
    said.textContent = error.name === "InvalidStateError" ? form.dataset.known : form.dataset.failed;
    button.disabled = false;
  }
}

const able = window.isSecureContext && window.PublicKeyCredential;
for (const place of document.querySelectorAll(able ? "[data-with-keys]" : "[data-without-keys]")) place.hidden = false;
if (able) {
  for (const form of document.querySelectorAll("form[data-passkey]")) {
    form.addEventListener("submit", (event) => {
      if (event.submitter?.dataset.withKeys === undefined) return; // a code was typed
      event.preventDefault();
      answer(form, event.submitter);
    });
  }
}
