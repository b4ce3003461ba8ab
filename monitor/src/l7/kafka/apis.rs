//! What can be asked of a broker, by its number (<https://kafka.apache.org/protocol#protocol_api_keys>).

/// Where the error of a whole answer stands after its head.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// There is none: topics, partitions or groups have their own.
    Nowhere,
    /// At once.
    First,
    /// After the time that the client is asked to wait, from this version on; before it, at once.
    Waits(i16),
    /// The same; before this version there is none.
    WaitsOnlyFrom(i16),
    /// At once in the first version, then after the time to wait, and from version 4 on there is none.
    Coordinator,
    /// Partitions have theirs.
    Produced,
    /// After the time to wait, from version 7 on; and partitions have theirs.
    Fetched,
}

use Place::{Coordinator, Fetched, First, Nowhere, Produced, Waits, WaitsOnlyFrom};

/// One kind of request.
#[derive(Clone, Copy)]
pub(super) struct Api {
    pub(super) name: &'static str,
    /// The last version whose layout is known here.
    pub(super) last: i16,
    /// From this version on heads and texts are written in the compact way.
    compact: i16,
    pub(super) error: Place,
}

impl Api {
    pub(super) fn is_compact(&self, version: i16) -> bool {
        version >= self.compact
    }
}

/// No version is.
const NEVER: i16 = i16::MAX;

/// By number.
const APIS: &[(&str, i16, i16, Place)] = &[
    ("Produce", 13, 9, Produced),
    ("Fetch", 18, 12, Fetched),
    ("ListOffsets", 11, 6, Nowhere),
    ("Metadata", 13, 9, Nowhere),
    ("LeaderAndIsr", 7, 4, First),
    ("StopReplica", 4, 2, First),
    ("UpdateMetadata", 8, 6, First),
    ("ControlledShutdown", 3, 3, First),
    ("OffsetCommit", 10, 8, Nowhere),
    ("OffsetFetch", 10, 6, Nowhere),
    ("FindCoordinator", 6, 3, Coordinator),
    ("JoinGroup", 9, 6, Waits(2)),
    ("Heartbeat", 4, 4, Waits(1)),
    ("LeaveGroup", 5, 4, Waits(1)),
    ("SyncGroup", 5, 4, Waits(1)),
    ("DescribeGroups", 6, 5, Nowhere),
    ("ListGroups", 5, 3, Waits(1)),
    ("SaslHandshake", 1, NEVER, First),
    ("ApiVersions", 4, 3, First),
    ("CreateTopics", 7, 5, Nowhere),
    ("DeleteTopics", 6, 4, Nowhere),
    ("DeleteRecords", 2, 2, Nowhere),
    ("InitProducerId", 6, 2, Waits(0)),
    ("OffsetForLeaderEpoch", 4, 4, Nowhere),
    ("AddPartitionsToTxn", 5, 3, WaitsOnlyFrom(4)),
    ("AddOffsetsToTxn", 4, 3, Waits(0)),
    ("EndTxn", 5, 3, Waits(0)),
    ("WriteTxnMarkers", 2, 1, Nowhere),
    ("TxnOffsetCommit", 5, 3, Nowhere),
    ("DescribeAcls", 3, 2, Waits(0)),
    ("CreateAcls", 3, 2, Nowhere),
    ("DeleteAcls", 3, 2, Nowhere),
    ("DescribeConfigs", 4, 4, Nowhere),
    ("AlterConfigs", 2, 2, Nowhere),
    ("AlterReplicaLogDirs", 2, 2, Nowhere),
    ("DescribeLogDirs", 5, 2, WaitsOnlyFrom(3)),
    ("SaslAuthenticate", 2, 2, First),
    ("CreatePartitions", 3, 2, Nowhere),
    ("CreateDelegationToken", 3, 2, First),
    ("RenewDelegationToken", 2, 2, First),
    ("ExpireDelegationToken", 2, 2, First),
    ("DescribeDelegationToken", 3, 2, First),
    ("DeleteGroups", 2, 2, Nowhere),
    ("ElectLeaders", 2, 2, WaitsOnlyFrom(1)),
    ("IncrementalAlterConfigs", 1, 1, Nowhere),
    ("AlterPartitionReassignments", 1, 0, Nowhere),
    ("ListPartitionReassignments", 0, 0, Waits(0)),
    ("OffsetDelete", 0, NEVER, First),
    ("DescribeClientQuotas", 1, 1, Waits(0)),
    ("AlterClientQuotas", 1, 1, Nowhere),
    ("DescribeUserScramCredentials", 0, 0, Waits(0)),
    ("AlterUserScramCredentials", 0, 0, Nowhere),
    ("Vote", 2, 0, First),
    ("BeginQuorumEpoch", 1, 1, First),
    ("EndQuorumEpoch", 1, 1, First),
    ("DescribeQuorum", 2, 0, First),
    ("AlterPartition", 3, 0, Waits(0)),
    ("UpdateFeatures", 2, 0, Waits(0)),
    ("Envelope", 0, 0, Nowhere),
    ("FetchSnapshot", 1, 0, Waits(0)),
    ("DescribeCluster", 2, 0, Waits(0)),
    ("DescribeProducers", 0, 0, Nowhere),
    ("BrokerRegistration", 4, 0, Waits(0)),
    ("BrokerHeartbeat", 1, 0, Waits(0)),
    ("UnregisterBroker", 0, 0, Waits(0)),
    ("DescribeTransactions", 0, 0, Nowhere),
    ("ListTransactions", 2, 0, Waits(0)),
    ("AllocateProducerIds", 0, 0, Waits(0)),
    ("ConsumerGroupHeartbeat", 1, 0, Waits(0)),
    ("ConsumerGroupDescribe", 1, 0, Nowhere),
    ("ControllerRegistration", 0, 0, Waits(0)),
    ("GetTelemetrySubscriptions", 0, 0, Waits(0)),
    ("PushTelemetry", 0, 0, Waits(0)),
    ("AssignReplicasToDirs", 0, 0, Waits(0)),
    ("ListConfigResources", 1, 0, Waits(0)),
    ("DescribeTopicPartitions", 0, 0, Nowhere),
    ("ShareGroupHeartbeat", 1, 0, Waits(0)),
    ("ShareGroupDescribe", 1, 0, Nowhere),
    ("ShareFetch", 1, 0, Waits(0)),
    ("ShareAcknowledge", 1, 0, Waits(0)),
    ("AddRaftVoter", 1, 0, Waits(0)),
    ("RemoveRaftVoter", 0, 0, Waits(0)),
    ("UpdateRaftVoter", 0, 0, Waits(0)),
    ("InitializeShareGroupState", 0, 0, Nowhere),
    ("ReadShareGroupState", 0, 0, Nowhere),
    ("WriteShareGroupState", 0, 0, Nowhere),
    ("DeleteShareGroupState", 0, 0, Nowhere),
    ("ReadShareGroupStateSummary", 0, 0, Nowhere),
    ("StreamsGroupHeartbeat", 0, 0, Waits(0)),
    ("StreamsGroupDescribe", 0, 0, Nowhere),
    ("DescribeShareGroupOffsets", 0, 0, Nowhere),
    ("AlterShareGroupOffsets", 0, 0, Nowhere),
    ("DeleteShareGroupOffsets", 0, 0, Nowhere),
];

/// The kind of request with this number.
pub(super) fn find(key: u16) -> Option<Api> {
    let (name, last, compact, error) = *APIS.get(usize::from(key))?;
    Some(Api { name, last, compact, error })
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn numbers_are_those_of_the_protocol() {
        for (key, name) in [
            (0, "Produce"),
            (10, "FindCoordinator"),
            (18, "ApiVersions"),
            (27, "WriteTxnMarkers"),
            (36, "SaslAuthenticate"),
            (47, "OffsetDelete"),
            (60, "DescribeCluster"),
            (68, "ConsumerGroupHeartbeat"),
            (75, "DescribeTopicPartitions"),
            (80, "AddRaftVoter"),
            (92, "DeleteShareGroupOffsets"),
        ] {
            assert_eq!(find(key).map(|api| api.name), Some(name));
        }
        assert!(find(93).is_none());
    }
}
