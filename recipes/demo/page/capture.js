// The dialog of microphone and camera. Nothing is recorded before a button is pressed, and devices are closed with it.
import { at } from "/dom.js";
import { fromBuffer } from "/wav.js";

const CLIPS = ["video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm", "video/mp4"];

/** Whether this page may ask for the devices: only on https and on this machine. */
export const offered = () => Boolean(navigator.mediaDevices?.getUserMedia && window.AudioWorkletNode);
const clipType = () => window.MediaRecorder && CLIPS.find((type) => MediaRecorder.isTypeSupported(type));

/** Shows the seconds of a recording, and ends it at the limit. */
function timer(limit, end) {
  const start = Date.now();
  const show = () => {
    const seconds = Math.floor((Date.now() - start) / 1000);
    at("capture-time").textContent = `${seconds} s of at most ${limit} s`;
    if (seconds >= limit) end();
  };
  show();
  const id = setInterval(show, 250);
  return () => clearInterval(id);
}

async function recordSound(stream, limit) {
  const context = new AudioContext();
  await context.audioWorklet.addModule("/recorder.js");
  const node = new AudioWorkletNode(context, "recorder");
  const blocks = [];
  node.port.onmessage = ({ data }) => blocks.push(data);
  context.createMediaStreamSource(stream).connect(node);
  return async () => {
    const { sampleRate } = context;
    await context.close();
    const length = Math.min(blocks.reduce((sum, block) => sum + block.length, 0), limit * sampleRate);
    if (length === 0) throw new Error("The microphone gave no sound.");
    const buffer = new AudioBuffer({ length, sampleRate });
    let place = 0;
    for (const block of blocks) {
      buffer.copyToChannel(block.subarray(0, length - place), 0, place);
      place = Math.min(length, place + block.length);
    }
    return fromBuffer(buffer);
  };
}

async function recordClip(stream) {
  const recorder = new MediaRecorder(stream, { mimeType: clipType() });
  const pieces = [];
  recorder.addEventListener("dataavailable", ({ data }) => pieces.push(data));
  recorder.start();
  return () => new Promise((resolve, reject) => {
    recorder.addEventListener("stop", () => {
      const clip = new Blob(pieces, { type: recorder.mimeType.split(";")[0] });
      if (clip.size > 0) resolve(clip);
      else reject(new Error("The camera gave no frames."));
    });
    recorder.stop();
  });
}

function photo() {
  const finder = at("viewfinder");
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [finder.videoWidth, finder.videoHeight];
  canvas.getContext("2d").drawImage(finder, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}

/**
 * Let the user take a picture or record a sound or a clip.
 * @param kinds that may be made: ["audio"], or some of "image" and "video".
 * @param limit of a recording, in seconds.
 * @returns {kind, blob}, or null if the user cancels.
 */
export async function capture(kinds, limit) {
  const sound = kinds.includes("audio");
  const stream = await navigator.mediaDevices.getUserMedia(sound ? { audio: true } : { video: true });
  const dialog = at("capture");
  const finder = at("viewfinder");
  const clips = kinds.includes("video") && Boolean(clipType());
  at("capture-title").textContent = sound ? "Record a sound" : "Camera";
  at("capture-time").textContent = "";
  finder.hidden = sound;
  finder.srcObject = sound ? null : stream;
  at("shoot").hidden = !kinds.includes("image");
  at("record").hidden = !sound && !clips;
  at("record").textContent = sound ? "Record" : "Record a clip";
  dialog.showModal();
  let halt = null;
  let stopClock = () => {};
  try {
    return await new Promise((resolve, reject) => {
      const finish = async () => {
        stopClock();
        at("record").disabled = true;
        const ended = halt();
        halt = null;
        try {
          resolve({ kind: sound ? "audio" : "video", blob: await ended });
        } catch (error) {
          reject(error);
        }
      };
      dialog.onclose = () => resolve(null);
      at("capture-cancel").onclick = () => resolve(null);
      at("shoot").onclick = async () => resolve({ kind: "image", blob: await photo() });
      at("record").onclick = async () => {
        if (halt) return finish();
        at("shoot").hidden = true;
        try {
          halt = await (sound ? recordSound(stream, limit) : recordClip(stream));
        } catch (error) {
          return reject(error);
        }
        at("record").textContent = "Finish";
        stopClock = timer(limit, finish);
      };
    });
  } finally {
    stopClock();
    halt?.().catch(() => {}); // cancelled: the recording is dropped
    at("record").disabled = false;
    for (const track of stream.getTracks()) track.stop();
    finder.srcObject = null;
    dialog.onclose = null;
    dialog.close();
  }
}
