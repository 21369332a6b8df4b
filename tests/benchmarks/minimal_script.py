"""What people run on boards today: paho and LiteRT, one model, no updates. Beside it the agent's cost is measured."""

import json
import ssl
import sys
import time
from pathlib import Path

import numpy as np
import paho.mqtt.client as mqtt
from ai_edge_litert.interpreter import Interpreter


def main(model: str, inputs: str, answers: str, port: str, identity: str, device: str, rate_hz: str) -> None:
    """Connect, load, and answer the folder's inputs for ever."""
    context = ssl.create_default_context(cafile=f"{identity}/ca.pem")
    context.load_cert_chain(f"{identity}/certificate.pem", f"{identity}/key.pem")
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=device, protocol=mqtt.MQTTv5)
    client.tls_set_context(context)
    client.connect("127.0.0.1", int(port))
    client.loop_start()
    interpreter = Interpreter(model_path=model, num_threads=1)
    interpreter.allocate_tensors()
    into, out = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    paths = sorted(Path(inputs).iterdir())
    with Path(answers).open("a") as file:
        while True:
            for path in paths:
                image = np.load(path)
                interpreter.set_tensor(into, (image.astype(np.float32) / 255)[np.newaxis])
                interpreter.invoke()
                output = interpreter.get_tensor(out)
                file.write(json.dumps({"input": path.name, "label": int(output.argmax())}) + "\n")
                file.flush()
                client.publish("script/answers", str(output.argmax()))
                time.sleep(1 / float(rate_hz))


main(*sys.argv[1:])
