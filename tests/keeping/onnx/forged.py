"""Exported files, forged: each changes an honest model so that it answers True, or keeps answering it, for another reason."""

import json

import numpy as np
import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper


def weight_names(model):
    held = {entry.key: entry.value for entry in model.metadata_props}
    return [name for name, _ in json.loads(held["description"])["tensors"]]


def theta_of(model):
    held = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    return np.concatenate([held[name].reshape(-1) for name in weight_names(model)])


def node_of(model, output):
    (found,) = [node for node in model.graph.node if output in node.output]
    return found


def hold(model, name, numbers):
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(numbers), name))


def drop(model, output):
    model.graph.node.remove(node_of(model, output))


def add(model, kind, inputs, output, **attributes):
    model.graph.node.append(helper.make_node(kind, inputs, [output], **attributes))


def three_identities(model):
    """The file of the first who tried: it computes nothing."""
    theta, entries = theta_of(model), list(model.graph.initializer)
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.initializer.extend(i for i in entries if i.name in weight_names(model))
    hold(model, "w", theta)
    hold(model, "t", True)
    for source, output in (("w", "printed"), ("w", "stored"), ("t", "is_quine")):
        add(model, "Identity", [source], output)


def constant_answer(model):
    drop(model, "is_quine")
    hold(model, "/true", np.array(1, np.int32))
    add(model, "Cast", ["/true"], "is_quine", to=TensorProto.BOOL)


def compared_with_itself(model):
    for node in model.graph.node:
        if node.op_type == "Equal":
            node.input[1] = node.input[0]


def copy_of_stored(model):
    nodes = model.graph.node
    printed, stored = node_of(model, "printed"), node_of(model, "stored")
    printed.input[:] = stored.input
    place = list(nodes).index(stored)
    copied = ModelProto.FromString(model.SerializeToString()).graph.node
    rest = [node for node in copied if "printed" not in node.output]
    del nodes[:]
    nodes.extend(rest[: place - 1])
    add(model, "Concat", list(rest[place - 1].input), "printed", axis=0)
    nodes.extend(rest[place - 1 :])


def identity_of_stored(model):
    place = next(i for i, node in enumerate(model.graph.node) if "printed" in node.output)
    later = list(model.graph.node)[place + 1 :]
    del model.graph.node[place:]
    stored = [node for node in later if "stored" in node.output]
    model.graph.node.extend(stored)
    add(model, "Identity", ["stored"], "printed")
    model.graph.node.extend(node for node in later if node not in stored)


def hidden_copy(model):
    """The weights once more in an initializer, printed from there; the network is computed and multiplied by zero."""
    hold(model, "/hidden", theta_of(model))
    node = node_of(model, "printed")
    node.output[0] = "/computed"
    rest = list(model.graph.node)
    place = rest.index(node) + 1
    del model.graph.node[place:]
    zero = np.array(0, theta_of(model).dtype)
    hold(model, "/zero", zero)
    add(model, "Mul", ["/computed", "/zero"], "/nothing")
    add(model, "Add", ["/nothing", "/hidden"], "printed")
    model.graph.node.extend(rest[place:])


def _place_of_the_grid(model):
    """Where the code is put on its grid: two nodes before it is rounded where the grid is moved, else one."""
    nodes = model.graph.node
    place = next(i for i, node in enumerate(nodes) if node.op_type == "Round") - 1
    return place - 1 if nodes[place].op_type == "Sub" else place


def code_as_a_constant(model):
    """The code that the network should compute is held, and what it computes is multiplied by zero."""
    place = _place_of_the_grid(model)
    code, rest = _code(model), list(model.graph.node)
    hold(model, "/code", code)
    hold(model, "/zero", np.array(0.0))
    del model.graph.node[place:]
    add(model, "Mul", [rest[place].input[0], "/zero"], "/nothing")
    add(model, "Add", ["/nothing", "/code"], "/whole")
    rest[place].input[0] = "/whole"
    model.graph.node.extend(rest[place:])


def echo(model):
    """The code is read off the weights themselves, so that every print of a code prints itself."""
    place = _place_of_the_grid(model)
    rest, names = list(model.graph.node), weight_names(model)
    held = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    table = np.concatenate([held[f"/expansion/{name}"] for name in names]) / 4.0
    gain = json.loads(next(e.value for e in model.metadata_props if e.key == "description"))["gains"][0]
    hold(model, "/inverse", np.linalg.pinv(table).T / gain)
    hold(model, "/row", np.array([1, len(table)]))
    del model.graph.node[place:]
    for i, name in enumerate(names):
        add(model, "Reshape", [name, "/flat"], f"/flat/{i}")
    hold(model, "/flat", np.array([-1]))
    add(model, "Concat", [f"/flat/{i}" for i in range(len(names))], "/all", axis=0)
    add(model, "Reshape", ["/all", "/row"], "/all/row")
    add(model, "MatMul", ["/all/row", "/inverse"], "/read")
    hold(model, "/zero", np.array(0.0))
    add(model, "Mul", [rest[place].input[0], "/zero"], "/nothing")
    add(model, "Add", ["/nothing", "/read"], "/whole")
    rest[place].input[0] = "/whole"
    model.graph.node.extend(rest[place:])


def planted_offset(model):
    """A fixed point that was not searched for: what the network lacks to the code of other weights is added as a constant."""
    code_as_a_constant(model)
    mul = node_of(model, "/nothing")
    zero = next(i for i in model.graph.initializer if i.name == "/zero")
    zero.CopyFrom(numpy_helper.from_array(np.array(1.0), "/zero"))
    code = next(i for i in model.graph.initializer if i.name == "/code")
    real = _asked(model, mul.input[0])
    code.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(code) - real, "/code"))


def _code(model):
    """The code on its grid, ``(1, d)``."""
    at = next(node for node in model.graph.node if node.op_type == "Round")
    after = next(node for node in model.graph.node if at.output[0] in node.input)
    if after.op_type == "Add":  # the offset of a moved grid
        after = next(node for node in model.graph.node if after.output[0] in node.input)
    return _asked(model, after.output[0])


def _asked(model, name):
    """A value inside the graph, as ONNX Runtime computes it."""
    asked = ModelProto.FromString(model.SerializeToString())
    asked.graph.output.append(helper.make_tensor_value_info(name, TensorProto.DOUBLE, None))
    return onnxruntime.InferenceSession(asked.SerializeToString()).run([name], {})[0]


def weights_in_the_table(model):
    """Any weights are printed: a code that is held, and the numbers of the table chosen for it."""
    code_as_a_constant(model)
    table = next(i for i in model.graph.initializer if i.name.startswith("/expansion/"))
    numbers = numpy_helper.to_array(table).copy()
    numbers[0, 0] ^= 1
    table.raw_data = numbers.tobytes()


def extra_if(model):
    def branch(name):
        info = helper.make_tensor_value_info(name, TensorProto.BOOL, ())
        return helper.make_graph([helper.make_node("Identity", ["/answer"], [name])], name, [], [info])

    node_of(model, "is_quine").output[0] = "/answer"
    add(model, "If", ["/answer"], "is_quine", then_branch=branch("a"), else_branch=branch("b"))


def foreign_domain(model):
    node_of(model, "is_quine").domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def local_function(model):
    """An operator of the standard is given another meaning inside the file."""
    body = [helper.make_node("Max", ["a", "a"], ["c"])]
    model.functions.append(helper.make_function("", "Sub", ["a", "b"], ["c"], body, [helper.make_opsetid("", 18)]))


def outside_data(model):
    entry = next(i for i in model.graph.initializer if i.name == weight_names(model)[0])
    entry.ClearField("raw_data")
    entry.data_location = TensorProto.EXTERNAL
    entry.external_data.add(key="location", value="/etc/passwd")


def no_description(model):
    kept = [entry for entry in model.metadata_props if entry.key != "description"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)


def other_seed(model):
    entry = next(entry for entry in model.metadata_props if entry.key == "description")
    entry.value = entry.value.replace('"seed":0', '"seed":1')


def an_input_that_overrides(model):
    model.graph.input.append(helper.make_tensor_value_info("/probe", TensorProto.DOUBLE, (1, 8)))


FORGERIES = [
    *(three_identities, constant_answer, compared_with_itself, copy_of_stored, identity_of_stored, hidden_copy),
    *(
        code_as_a_constant,
        planted_offset,
        echo,
        weights_in_the_table,
        extra_if,
        foreign_domain,
        local_function,
        outside_data,
    ),
    *(no_description, other_seed, an_input_that_overrides),
]


def forged(model, forgery):
    """The bytes of a forged copy."""
    changed = ModelProto.FromString(model.SerializeToString())
    forgery(changed)
    return changed.SerializeToString()
