//! What to do about a condition: one table for all commands. Messages of conditions say what is wrong; this says
//! what comes next.

/// What to do about a condition of this model that is not as it should be, if its message does not say.
pub fn of(reason: &str, model: &str) -> Option<String> {
    let text = advice(reason)?;
    Some(text.replace("MIXNN", crate::plugin::name()).replace("NAME", model))
}

fn advice(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "InvalidModel" => {
            "MIXNN validate -f FILE shows the place; layers cannot change: delete the model and apply it again"
        }
        "UnknownPodClass" | "InvalidRelays" => {
            "suspend the model, change the field that the message names, resume it"
        }
        "NoSharedRelays" | "SharedRelays" => {
            "set spec.relays.shared: false while the model is suspended, or ask the platform for such relays"
        }
        "NoHost" => {
            "ask a team for a MixNNHost that admits this namespace; MIXNN check shows which there are"
        }
        "NoFreshHost" => {
            "more hosts in other trust domains, or a larger spec.placement.maxLayersPerHost in a new model"
        }
        "HostCeiling" | "HostsFull" => {
            "smaller spec.podClasses, or hosts with higher ceilings; MIXNN check compares them"
        }
        "HostQuotaExceeded"
        | "HostLimitRange"
        | "HostPolicy"
        | "HostTerminating"
        | "HostServiceAccountMissing"
        | "HostBindingMissing" => {
            "the host's administrators can mend it; another host that admits the namespace is taken by itself"
        }
        "HostMutatesPods" => {
            "the host's administrators exclude pods with the label mixnn.dev/pod from what changes them"
        }
        "HostsNotReady" => "wait; if it stays, the MixNNHosts say what is missing",
        "Timeout" => {
            "wait: it is tried again; nodes with room, or smaller spec.podClasses, make it fit"
        }
        "Suspended" => {
            "resume it: kubectl patch mixnn NAME --type=merge -p '{\"spec\":{\"suspend\":false}}'"
        }
        "LayerCounts" | "SealedLayers" => {
            "compare the Secret of spec.layersFrom with spec.layerCounts; make the model again"
        }
        "Data" => "MIXNN data ls -f FILE --data PLACE opens the same data from here",
        "OwnerSecret" => {
            "mend the Secret that the message names; the designer tries again by itself"
        }
        "Checkpoint" | "Store" | "CheckpointFailed" => {
            "look at the store of spec.checkpoints: does it take writes, is there room?"
        }
        "NobodyCame" => {
            "make the model anew; with spec.checkpoints a lost designer is followed by another"
        }
        "NumericProfile" => {
            "keep the pods off the nodes that the message names, by nodeSelector of their MixNNHost"
        }
        "LayerFailed" | "LaneFailed" | "Unrecovered" | "Failed" => {
            "MIXNN logs shows what came before"
        }
        "Registration" | "Cluster" => "MIXNN check shows whether the platform is well",
        "Starting" => "wait: the layers take up the newest checkpoint",
        "Recovering" | "PodLost" => "wait: it recovers by itself, to the same bits",
        _ => return None,
    })
}
