WITH
  records AS (
    SELECT timestamp, jsonPayload
    FROM `${table}`
    WHERE resource.labels.service_name = '${service}' AND jsonPayload.model = '${model}'
  ),
  outcomes AS (
    SELECT
      jsonPayload.prediction_id AS prediction_id,
      ARRAY_AGG(
        STRUCT(COALESCE(JSON_VALUE(jsonPayload.outcome_json), jsonPayload.outcome_json) AS outcome, timestamp AS told_at)
        ORDER BY timestamp DESC LIMIT 1
      )[OFFSET(0)] AS last
    FROM records
    WHERE jsonPayload.kind = 'feedback'
    GROUP BY prediction_id
  ),
  predictions AS (
    SELECT
      timestamp,
      CONCAT(jsonPayload.request_id, '-', positions[OFFSET(i)]) AS prediction_id,
      CAST(jsonPayload.version AS INT64) AS version,
      jsonPayload.revision AS revision,
      jsonPayload.dialect AS dialect,
      PARSE_JSON(features, wide_number_mode => 'round') AS features,
      -- A label or number as plain text; several targets as a JSON array.
      COALESCE(JSON_VALUE(answers[OFFSET(i)], '$.prediction'), JSON_QUERY(answers[OFFSET(i)], '$.prediction')) AS prediction,
      PARSE_JSON(JSON_QUERY(answers[OFFSET(i)], '$.probabilities'), wide_number_mode => 'round') AS probabilities,
      -- Large requests are logged as a sample: each logged instance then stands for so many.
      SAFE_DIVIDE(jsonPayload.instances, jsonPayload.instances_logged) AS weight
    FROM
      (
        SELECT
          *,
          JSON_QUERY_ARRAY(jsonPayload.predictions_json) AS answers,
          JSON_QUERY_ARRAY(jsonPayload.logged_json) AS positions
        FROM records
        WHERE jsonPayload.kind = 'prediction'
      ),
      UNNEST(JSON_QUERY_ARRAY(jsonPayload.features_json)) AS features WITH OFFSET AS i
  )
SELECT predictions.*, last.outcome, last.told_at
FROM predictions
LEFT JOIN outcomes USING (prediction_id)
